//go:build linux

package main

import (
	"fmt"
	"runtime"
	"syscall"
	"time"
	"unsafe"
)

// sysEpollPwait2 has one number on every architecture, as all calls since Linux 5.1 do.
const sysEpollPwait2 = 441

// A poller waits for many descriptors at once, level-triggered. Load and engine
// share one processor, so both use it in place of a goroutine per connection:
// they must cost less than the proxy they measure.
type poller struct {
	epfd   int
	events [256]syscall.EpollEvent
}

func newPoller() (*poller, error) {
	fd, err := syscall.EpollCreate1(syscall.EPOLL_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("epoll_create: %w", err)
	}
	return &poller{epfd: fd}, nil
}

func (p *poller) close() error { return syscall.Close(p.epfd) }

// add watches fd for input; events carry id.
func (p *poller) add(fd, id int) error {
	ev := syscall.EpollEvent{Events: syscall.EPOLLIN | syscall.EPOLLRDHUP, Fd: int32(id)}
	return syscall.EpollCtl(p.epfd, syscall.EPOLL_CTL_ADD, fd, &ev)
}

// want says whether events for a full send buffer becoming writable are wanted too.
func (p *poller) want(fd, id int, output bool) error {
	ev := syscall.EpollEvent{Events: syscall.EPOLLIN | syscall.EPOLLRDHUP, Fd: int32(id)}
	if output {
		ev.Events |= syscall.EPOLLOUT
	}
	return syscall.EpollCtl(p.epfd, syscall.EPOLL_CTL_MOD, fd, &ev)
}

// spin is how long wait looks again and again before it sleeps. A sleeping reader has
// to be woken by the proxy's write, with an interrupt to another processor that in a
// virtual machine costs more than the write itself, and a slow proxy, whose readers
// sleep more, would pay it more often than a fast one.
const spin = 500 * time.Microsecond

// wait returns the descriptors that are ready, none when d has passed. The result
// is good until the next call.
func (p *poller) wait(d time.Duration) ([]syscall.EpollEvent, error) {
	for start := time.Now(); ; {
		ready, err := p.ready(0)
		if len(ready) > 0 || err != nil {
			return ready, err
		}
		waited := time.Since(start)
		if waited >= d {
			return nil, nil
		}
		if waited >= spin {
			return p.ready(d - waited)
		}
		// Load and engine share a processor: the other one may have work.
		syscall.RawSyscall(syscall.SYS_SCHED_YIELD, 0, 0, 0)
		runtime.Gosched()
	}
}

// ready sleeps for at most d.
func (p *poller) ready(d time.Duration) ([]syscall.EpollEvent, error) {
	ts := syscall.NsecToTimespec(int64(d))
	var n uintptr
	var errno syscall.Errno
	if d == 0 { // returns at once: the runtime need not know
		n, _, errno = syscall.RawSyscall6(sysEpollPwait2, uintptr(p.epfd), uintptr(unsafe.Pointer(&p.events[0])),
			uintptr(len(p.events)), uintptr(unsafe.Pointer(&ts)), 0, 0)
	} else {
		n, _, errno = syscall.Syscall6(sysEpollPwait2, uintptr(p.epfd), uintptr(unsafe.Pointer(&p.events[0])),
			uintptr(len(p.events)), uintptr(unsafe.Pointer(&ts)), 0, 0)
	}
	if errno == syscall.EINTR {
		return nil, nil
	}
	if errno != 0 {
		return nil, fmt.Errorf("epoll_pwait2: %w", errno)
	}
	return p.events[:n], nil
}
