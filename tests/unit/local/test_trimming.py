"""Parts of upstream's sources are left out, each by a text that must be there: another upstream is an error."""

from __future__ import annotations

from pathlib import Path

import pytest

from headrace_local import trimming
from headrace_local.errors import LocalClusterError

CLIENTSET = """\
import (
	appsv1 "k8s.io/client-go/kubernetes/typed/apps/v1"
	appsv1beta1 "k8s.io/client-go/kubernetes/typed/apps/v1beta1"
)

type Interface interface {
	AppsV1() appsv1.AppsV1Interface
	AppsV1beta1() appsv1beta1.AppsV1beta1Interface
}

type Clientset struct {
	appsV1      *appsv1.AppsV1Client
	appsV1beta1 *appsv1beta1.AppsV1beta1Client
}

// AppsV1 retrieves the AppsV1Client
func (c *Clientset) AppsV1() appsv1.AppsV1Interface {
	return c.appsV1
}

// AppsV1beta1 retrieves the AppsV1beta1Client
func (c *Clientset) AppsV1beta1() appsv1beta1.AppsV1beta1Interface {
	return c.appsV1beta1
}

func NewForConfigAndClient() {
	cs.appsV1, err = appsv1.NewForConfigAndClient(&configShallowCopy, httpClient)
	if err != nil {
		return nil, err
	}
	cs.appsV1beta1, err = appsv1beta1.NewForConfigAndClient(&configShallowCopy, httpClient)
	if err != nil {
		return nil, err
	}
}

func New(c rest.Interface) *Clientset {
	cs.appsV1 = appsv1.New(c)
	cs.appsV1beta1 = appsv1beta1.New(c)
}
"""

INTERFACE = """\
import (
	v1 "k8s.io/client-go/informers/apps/v1"
	v1beta1 "k8s.io/client-go/informers/apps/v1beta1"
)

type Interface interface {
	// V1 provides access to shared informers for resources in V1.
	V1() v1.Interface
	// V1beta1 provides access to shared informers for resources in V1beta1.
	V1beta1() v1beta1.Interface
}

// V1 returns a new v1.Interface.
func (g *group) V1() v1.Interface {
	return v1.New(g.factory, g.namespace, g.tweakListOptions)
}

// V1beta1 returns a new v1beta1.Interface.
func (g *group) V1beta1() v1beta1.Interface {
	return v1beta1.New(g.factory, g.namespace, g.tweakListOptions)
}
"""

GENERIC = """\
	appsv1beta1 "k8s.io/api/apps/v1beta1"
	case appsv1.SchemeGroupVersion.WithResource("deployments"):
		return &genericInformer{informer: f.Apps().V1().Deployments().Informer()}, nil
	case appsv1beta1.SchemeGroupVersion.WithResource("deployments"):
		return &genericInformer{informer: f.Apps().V1beta1().Deployments().Informer()}, nil
	case appsv1beta1.SchemeGroupVersion.WithResource("statefulsets"):
		return &genericInformer{informer: f.Apps().V1beta1().StatefulSets().Informer()}, nil
"""

SOURCES = {
    "helper.go": "package p\n",
    "main.go": "one,\ntwo,\nthree,\n",
    "k8s.io/client-go/kubernetes/clientset.go": CLIENTSET,
    "k8s.io/client-go/informers/apps/interface.go": INTERFACE,
    "k8s.io/client-go/informers/generic.go": GENERIC,
}


@pytest.fixture
def vendor(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name, text in SOURCES.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    monkeypatch.setattr(trimming, "FILES", ("helper.go",))
    monkeypatch.setattr(trimming, "LINES", {"main.go": (r"two,\n",)})
    monkeypatch.setattr(trimming, "CLIENTS", {"apps": ("v1beta1",)})
    return tmp_path


def test_files_and_lines_are_left_out_and_nothing_else(vendor: Path) -> None:
    trimming.trim(vendor)
    assert not (vendor / "helper.go").exists()
    assert (vendor / "main.go").read_text() == "one,\nthree,\n"


def test_a_client_is_left_out_wherever_it_is_named_and_its_neighbour_stays(vendor: Path) -> None:
    trimming.trim(vendor)
    for name in SOURCES:
        if (vendor / name).exists():
            assert "beta" not in (vendor / name).read_text(), name
            kept = [line for line in SOURCES[name].splitlines() if "beta" not in line and line.strip(" \t})]{") != ""]
            assert set(kept) - {"two,"} <= set((vendor / name).read_text().splitlines())


@pytest.mark.parametrize("name", ["helper.go", "main.go", "k8s.io/client-go/kubernetes/clientset.go"])
def test_another_upstream_is_an_error_that_names_the_file(vendor: Path, name: str) -> None:
    if name == "helper.go":
        (vendor / name).unlink()
    else:
        (vendor / name).write_text("something else\n")
    with pytest.raises(LocalClusterError, match=name):
        trimming.trim(vendor)
