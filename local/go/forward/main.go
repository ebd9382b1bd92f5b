// Command forward carries connections from a listening socket of the host into a network namespace.
//
// It is started inside the namespace and inherits a socket that listens outside it: what it accepts comes from the host,
// what it dials lies in the namespace.
//
//	forward FILE-DESCRIPTOR ADDRESS:PORT
package main

import (
	"fmt"
	"io"
	"net"
	"os"
	"strconv"
	"sync"
	"time"
)

const dialTimeout = 5 * time.Second

type halfCloser interface {
	CloseWrite() error
}

// pipe copies until the source ends, then tells the target that no more is coming: the other direction may go on.
func pipe(target, source net.Conn) {
	_, err := io.Copy(target, source)
	if closer, can := target.(halfCloser); can && err == nil {
		_ = closer.CloseWrite()
		return
	}
	_ = target.Close()
	_ = source.Close()
}

func carry(client net.Conn, address string) {
	defer client.Close()
	server, err := net.DialTimeout("tcp", address, dialTimeout)
	if err != nil {
		fmt.Fprintf(os.Stderr, "%s: %v\n", address, err)
		return
	}
	defer server.Close()
	var directions sync.WaitGroup
	directions.Go(func() { pipe(server, client) })
	directions.Go(func() { pipe(client, server) })
	directions.Wait()
}

func run() error {
	if len(os.Args) != 3 {
		return fmt.Errorf("usage: forward FILE-DESCRIPTOR ADDRESS:PORT")
	}
	descriptor, err := strconv.ParseUint(os.Args[1], 10, 16)
	if err != nil {
		return fmt.Errorf("file descriptor: %w", err)
	}
	listener, err := net.FileListener(os.NewFile(uintptr(descriptor), "listener"))
	if err != nil {
		return fmt.Errorf("file descriptor %d is no listening socket: %w", descriptor, err)
	}
	for {
		client, err := listener.Accept()
		if err != nil {
			return err
		}
		go carry(client, os.Args[2])
	}
}

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "forward:", err)
		os.Exit(1)
	}
}
