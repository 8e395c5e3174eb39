//go:build linux

package main

import (
	"os"
	"testing"
)

// The harness runs itself as engine, proxy and pin; under test that is this binary.
func TestMain(m *testing.M) {
	if os.Getenv(childMark) != "" {
		main()
		return
	}
	os.Exit(m.Run())
}
