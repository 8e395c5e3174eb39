package network

import "testing"

func TestAddresses(t *testing.T) {
	a := NewAddresses()
	first, err := a.Take()
	if err != nil || first != "10.244.1.1" {
		t.Fatalf("first address %s, error %v", first, err)
	}
	a.Release(first)
	if second, _ := a.Take(); second != "10.244.1.2" {
		t.Errorf("after a release %s, want a fresh one, 10.244.1.2", second)
	}
	seen := map[string]bool{}
	for {
		ip, err := a.Take()
		if err != nil {
			break
		}
		if seen[ip] || ip == NodeIP {
			t.Fatalf("%s was given twice", ip)
		}
		seen[ip] = true
	}
	if len(seen) < 60000 {
		t.Errorf("only %d addresses", len(seen))
	}
	a.Release("10.244.9.9")
	if ip, err := a.Take(); err != nil || ip != "10.244.9.9" {
		t.Errorf("%s, error %v: want the one that was released", ip, err)
	}
}
