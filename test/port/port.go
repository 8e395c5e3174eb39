// Package port gives tests ports that stay theirs. A port that was found free by
// listening on it and closing again may be anybody's a moment later; on Linux, these
// are held by a socket that is bound and never listens.
package port

import (
	"fmt"
	"net"
	"runtime"
	"strconv"
	"syscall"
	"testing"
)

// Free returns a port of 127.0.0.1 at which nobody listens, and nobody who asks for any
// free port will until the test ends. Whoever names the port can listen on it, and
// again after that; until then connections are refused.
func Free(t testing.TB) string {
	t.Helper()
	fd, port, err := bind()
	if err != nil {
		t.Fatalf("reserve a port: %v", err)
	}
	if runtime.GOOS == "linux" {
		t.Cleanup(func() { _ = syscall.Close(fd) })
	} else {
		_ = syscall.Close(fd) // there it would be in the way
	}
	return strconv.Itoa(port)
}

// Address is that of a port that is Free.
func Address(t testing.TB) string {
	t.Helper()
	return net.JoinHostPort("127.0.0.1", Free(t))
}

// bind returns a socket with the option that package net sets on those that listen:
// two that have it may share a port while at most one of them listens.
func bind() (fd, port int, err error) {
	syscall.ForkLock.RLock()
	if fd, err = syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM, 0); err == nil {
		syscall.CloseOnExec(fd)
	}
	syscall.ForkLock.RUnlock()
	if err != nil {
		return 0, 0, err
	}
	defer func() {
		if err != nil {
			_ = syscall.Close(fd)
		}
	}()
	if err = syscall.SetsockoptInt(fd, syscall.SOL_SOCKET, syscall.SO_REUSEADDR, 1); err != nil {
		return 0, 0, err
	}
	if err = syscall.Bind(fd, &syscall.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}); err != nil {
		return 0, 0, err
	}
	name, err := syscall.Getsockname(fd)
	if err != nil {
		return 0, 0, err
	}
	in4, ok := name.(*syscall.SockaddrInet4)
	if !ok {
		return 0, 0, fmt.Errorf("it is bound to %v", name)
	}
	return fd, in4.Port, nil
}
