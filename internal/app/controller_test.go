package app

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"

	"k8s.io/client-go/rest"
)

// An API server that is away when the controller starts is waited for: to end would
// be to start again and again, later and later.
func TestControllerWaitsForItsImage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log strings.Builder
		asked := 0
		c, err := NewController(ControllerConfig{
			API: &rest.Config{}, Controllers: []string{ControllerName}, Admin: ":0", Log: slog.New(slog.NewTextHandler(&log, nil)),
			FindImage: func(context.Context) (string, error) {
				if asked++; asked < 4 {
					return "", errors.New("connection refused")
				}
				return "example.com/crossfade:1", nil
			},
		})
		if err != nil {
			t.Fatal(err)
		}
		if image, ok := c.image(t.Context()); !ok || image != "example.com/crossfade:1" {
			t.Errorf("image is %q", image)
		}
		if n := strings.Count(log.String(), "\n"); n != 1 {
			t.Errorf("%d lines in the log:\n%s", n, log.String())
		}
		asked = 0
		ended, end := context.WithCancel(t.Context())
		end()
		if _, ok := c.image(ended); ok {
			t.Error("an image is known after the end")
		}
	})
}

func TestControllerNeedsAnImage(t *testing.T) {
	_, err := NewController(ControllerConfig{Controllers: []string{ControllerName}, Admin: ":0"})
	if err == nil || !strings.Contains(err.Error(), "--image") {
		t.Errorf("got %v", err)
	}
}
