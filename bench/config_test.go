//go:build linux

package main

import (
	"strings"
	"testing"
)

func TestDefaultsAreValid(t *testing.T) {
	c := defaultConfig()
	if err := c.validate(); err != nil {
		t.Error(err)
	}
}

func TestValidateNamesEveryMistake(t *testing.T) {
	c := defaultConfig()
	c.targets, c.parts = []string{"envoy"}, []string{"requests", "colour"}
	c.rounds, c.rate, c.proxyCPU = 0, 0, 1<<20
	err := c.validate()
	if err == nil {
		t.Fatal("no error")
	}
	for _, want := range []string{`"envoy"`, `"colour"`, "--rounds", "--rate", "1048576"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("the error does not speak of %s: %v", want, err)
		}
	}
}
