package app

import (
	"context"

	"crossfade.dev/internal/extproc"
	"crossfade.dev/internal/proxy"
	"crossfade.dev/internal/routing"
)

// consultations lets the proxy consult external pickers through c.
func consultations(c *extproc.Client) proxy.ExternalPicker {
	return func(ctx context.Context, pool *routing.Pool) proxy.Consultation { return c.Begin(ctx, pool) }
}
