// Command volumes opens the folders of new volumes to every user.
//
// The controller manager's provisioner of folders on the node makes them for root only, and the kubelet does not apply a pod's
// fsGroup to them: without this, programs that do not run as root could not write to their volumes.
//
//	volumes DIRECTORY
package main

import (
	"fmt"
	"os"
	"path/filepath"

	"github.com/fsnotify/fsnotify"
)

const openToAll = 0o777

func openVolumes(directory string) error {
	entries, err := os.ReadDir(directory)
	if err != nil {
		return err
	}
	for _, entry := range entries {
		if err := os.Chmod(filepath.Join(directory, entry.Name()), openToAll); err != nil && !os.IsNotExist(err) {
			return err
		}
	}
	return nil
}

func run() error {
	if len(os.Args) != 2 {
		return fmt.Errorf("usage: volumes DIRECTORY")
	}
	directory := os.Args[1]
	watcher, err := fsnotify.NewWatcher()
	if err != nil {
		return err
	}
	defer watcher.Close()
	if err := watcher.Add(directory); err != nil {
		return err
	}
	if err := openVolumes(directory); err != nil {
		return err
	}
	for {
		select {
		case event := <-watcher.Events:
			if event.Has(fsnotify.Create) {
				if err := openVolumes(directory); err != nil {
					return err
				}
			}
		case err := <-watcher.Errors:
			return err
		}
	}
}

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "volumes:", err)
		os.Exit(1)
	}
}
