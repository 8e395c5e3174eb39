// Package network wires a cluster's network namespaces.
//
// One outer namespace is the node. It has no way out: its only interfaces are
// lo and one veth per pod. Every pod has a namespace of its own with one /32
// address, so that no two pods can want the same port:
//
//	pod eth0 10.244.x.y/32 ── veth ── node: route 10.244.x.y/32 ── lo 10.244.0.1
//
// The pod's default route points at the node's address on lo, which answers ARP
// on every veth. Routes instead of a bridge, because what passes a bridge misses
// kube-proxy's rules unless br_netfilter is loaded.
package network

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"runtime"
	"sync"
	"sync/atomic"
	"syscall"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"
)

// The addresses of every cluster. Clusters do not see each other, so all use
// the same ones.
const (
	NodeIP        = "10.244.0.1"
	PodRange      = "10.244.0.0/16"
	ServiceRange  = "10.96.0.0/16"
	KubernetesIP  = "10.96.0.1" // the Service kubernetes.default
	BalancerRange = "10.250.0.0/16"
)

// SetUpNode prepares the namespace the caller is in as the node's. It refuses
// one that has other interfaces than lo: that would be a real machine's.
func SetUpNode() error {
	links, err := netlink.LinkList()
	if err != nil {
		return fmt.Errorf("list interfaces: %w", err)
	}
	for _, l := range links {
		// Some kernels put tunnel devices (tunl0, sit0) into each new namespace.
		if l.Attrs().Name != "lo" && l.Attrs().Flags&net.FlagUp != 0 {
			return fmt.Errorf("interface %s is up: this is not a fresh network namespace", l.Attrs().Name)
		}
	}
	lo, err := netlink.LinkByName("lo")
	if err != nil {
		return fmt.Errorf("find lo: %w", err)
	}
	if err := netlink.LinkSetUp(lo); err != nil {
		return fmt.Errorf("bring lo up: %w", err)
	}
	if err := netlink.AddrAdd(lo, &netlink.Addr{IPNet: hostNet(NodeIP)}); err != nil {
		return fmt.Errorf("add %s to lo: %w", NodeIP, err)
	}
	if err := os.WriteFile("/proc/sys/net/ipv4/ip_forward", []byte("1"), 0o644); err != nil {
		return fmt.Errorf("forward between pods: %w", err)
	}
	for _, r := range []string{ServiceRange, BalancerRange} {
		if err := RouteToNode(netip.MustParsePrefix(r)); err != nil {
			return err
		}
	}
	return nil
}

// RouteToNode makes the node's own processes able to send to a range of virtual
// addresses. Without any route the kernel would refuse before kube-proxy's
// rules, which come later on the way out, could rewrite the address.
func RouteToNode(to netip.Prefix) error {
	lo, err := netlink.LinkByName("lo")
	if err != nil {
		return fmt.Errorf("find lo: %w", err)
	}
	dst := &net.IPNet{IP: to.Addr().AsSlice(), Mask: net.CIDRMask(to.Bits(), to.Addr().BitLen())}
	err = netlink.RouteReplace(&netlink.Route{LinkIndex: lo.Attrs().Index, Dst: dst, Src: net.ParseIP(NodeIP)})
	if err != nil {
		return fmt.Errorf("route %s to lo: %w", to, err)
	}
	return nil
}

func hostNet(ip string) *net.IPNet {
	return &net.IPNet{IP: net.ParseIP(ip).To4(), Mask: net.CIDRMask(32, 32)}
}

// Sandbox is the network namespace of one pod. No process holds it open, only
// this value's descriptor.
type Sandbox struct {
	ns   netns.NsHandle
	host string // our end of the veth pair
}

var sandboxes atomic.Int64 // numbers their interfaces

// NewSandbox makes a namespace whose eth0 has address ip.
func NewSandbox(ip string) (*Sandbox, error) {
	ns, err := newNamespace()
	if err != nil {
		return nil, fmt.Errorf("new network namespace: %w", err)
	}
	n := sandboxes.Add(1)
	s := &Sandbox{ns: ns, host: fmt.Sprintf("pod%d", n)}
	if err := s.wire(ip); err != nil {
		return nil, errors.Join(err, s.Close())
	}
	return s, nil
}

func (s *Sandbox) wire(ip string) error {
	veth := &netlink.Veth{LinkAttrs: netlink.LinkAttrs{Name: s.host}, PeerName: "eth0", PeerNamespace: netlink.NsFd(int(s.ns))}
	if err := netlink.LinkAdd(veth); err != nil {
		return fmt.Errorf("add veth %s: %w", s.host, err)
	}
	link, err := netlink.LinkByName(s.host)
	if err != nil {
		return fmt.Errorf("find veth %s: %w", s.host, err)
	}
	if err := netlink.LinkSetUp(link); err != nil {
		return fmt.Errorf("bring veth %s up: %w", s.host, err)
	}
	if err := s.Do(func() error { return configurePod(ip) }); err != nil {
		return fmt.Errorf("configure the pod's end of %s: %w", s.host, err)
	}
	route := &netlink.Route{LinkIndex: link.Attrs().Index, Scope: netlink.SCOPE_LINK, Dst: hostNet(ip), Src: net.ParseIP(NodeIP)}
	if err := netlink.RouteReplace(route); err != nil {
		return fmt.Errorf("route %s to %s: %w", ip, s.host, err)
	}
	return nil
}

// configurePod runs inside the pod's namespace.
func configurePod(ip string) error {
	// As containerd does: a pod binds port 80 without being root.
	if err := os.WriteFile("/proc/sys/net/ipv4/ip_unprivileged_port_start", []byte("0"), 0o644); err != nil {
		return err
	}
	lo, err := netlink.LinkByName("lo")
	if err != nil {
		return err
	}
	eth0, err := netlink.LinkByName("eth0")
	if err != nil {
		return err
	}
	index, gateway := eth0.Attrs().Index, hostNet(NodeIP)
	for _, step := range []func() error{
		func() error { return netlink.LinkSetUp(lo) },
		func() error { return netlink.AddrAdd(eth0, &netlink.Addr{IPNet: hostNet(ip)}) },
		func() error { return netlink.LinkSetUp(eth0) },
		func() error {
			return netlink.RouteAdd(&netlink.Route{LinkIndex: index, Scope: netlink.SCOPE_LINK, Dst: gateway})
		},
		func() error { return netlink.RouteAdd(&netlink.Route{LinkIndex: index, Gw: gateway.IP}) },
	} {
		if err := step(); err != nil {
			return err
		}
	}
	return nil
}

// Do runs f on a thread inside the namespace. Processes that f starts are in it.
// A nil sandbox is the node's own network.
func (s *Sandbox) Do(f func() error) error {
	if s == nil {
		return f()
	}
	return onOwnThread(func() error {
		if err := netns.Set(s.ns); err != nil {
			return fmt.Errorf("enter network namespace: %w", err)
		}
		return f()
	})
}

// Close deletes the veth pair and lets go of the namespace, which ends with its
// last process.
func (s *Sandbox) Close() error {
	var err error
	if link, e := netlink.LinkByName(s.host); e == nil {
		err = netlink.LinkDel(link)
	}
	return errors.Join(err, syscall.Close(int(s.ns)))
}

func newNamespace() (netns.NsHandle, error) {
	var ns netns.NsHandle
	err := onOwnThread(func() (err error) {
		if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
			return err
		}
		ns, err = netns.Get()
		return err
	})
	return ns, err
}

// onOwnThread runs f on a locked thread and puts the thread back into the
// caller's network namespace; if that fails the thread stays locked and ends.
func onOwnThread(f func() error) error {
	done := make(chan error, 1)
	go func() {
		runtime.LockOSThread()
		home, err := netns.Get()
		if err != nil {
			done <- err
			return
		}
		err = f()
		if netns.Set(home) == nil {
			runtime.UnlockOSThread()
		}
		_ = home.Close()
		done <- err
	}()
	return <-done
}

// Addresses hands out the addresses of pods. One that is given back is used
// again as late as possible, so that nobody meets a successor by mistake.
type Addresses struct {
	mu   sync.Mutex
	last netip.Addr
	used map[netip.Addr]bool
}

// NewAddresses starts behind the node's own /24.
func NewAddresses() *Addresses {
	return &Addresses{last: netip.MustParseAddr("10.244.1.0"), used: map[netip.Addr]bool{}}
}

// Take returns a free address, or an error when there is none.
func (a *Addresses) Take() (string, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	within := netip.MustParsePrefix(PodRange)
	for range 1 << 16 {
		a.last = a.last.Next()
		if !within.Contains(a.last) {
			a.last = netip.MustParseAddr("10.244.1.0")
		}
		last := a.last.As4()[3]
		if last == 0 || last == 255 || a.used[a.last] {
			continue
		}
		a.used[a.last] = true
		return a.last.String(), nil
	}
	return "", errors.New("no pod address is free")
}

// Release gives an address back.
func (a *Addresses) Release(ip string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if addr, err := netip.ParseAddr(ip); err == nil {
		delete(a.used, addr)
	}
}
