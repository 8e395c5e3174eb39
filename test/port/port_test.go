package port

import (
	"errors"
	"net"
	"runtime"
	"syscall"
	"testing"
)

// A port is refused, can be listened on more than once, and is given to nobody else.
func TestFree(t *testing.T) {
	at := Address(t)
	for range 2 {
		if _, err := net.Dial("tcp", at); !errors.Is(err, syscall.ECONNREFUSED) {
			t.Fatalf("nobody listens: %v", err)
		}
		l, err := net.Listen("tcp", at)
		if err != nil {
			t.Fatal(err)
		}
		c, err := net.Dial("tcp", at)
		if err != nil {
			t.Fatal(err)
		}
		c.Close()
		l.Close()
	}
}

func TestFreeStaysReserved(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("only on Linux")
	}
	ours := map[string]bool{}
	for range 200 {
		at := Address(t)
		if ours[at] {
			t.Fatalf("%s is reserved twice", at)
		}
		ours[at] = true
	}
	for range 20000 { // about as many as there are
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		if at := l.Addr().String(); ours[at] {
			t.Errorf("%s was given away", at)
		}
		l.Close()
	}
}
