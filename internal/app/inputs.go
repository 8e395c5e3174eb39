package app

import (
	"context"

	"crossfade.dev/internal/source"
)

// inputs are what a configuration is made of: a source's latest update, and a bell
// for everything else that changes.
type inputs struct {
	bell chan struct{}
}

func newInputs() inputs { return inputs{bell: make(chan struct{}, 1)} }

// ring asks for another build; calls that come before it starts are one.
func (i inputs) ring() {
	select {
	case i.bell <- struct{}{}:
	default:
	}
}

// follow calls reconcile with the source's latest update, one call at a time,
// whenever there is a new one or the bell rang, until ctx ends or the source fails.
func (i inputs) follow(ctx context.Context, s source.Source, reconcile func(context.Context, source.Update)) error {
	updates := make(chan source.Update)
	failed := make(chan error, 1)
	go func() {
		failed <- s.Run(ctx, func(up source.Update) {
			select {
			case updates <- up:
			case <-ctx.Done():
			}
		})
	}()
	var latest source.Update
	for {
		select {
		case err := <-failed:
			return err
		case latest = <-updates:
		case <-i.bell:
			if latest.Resources == nil {
				continue
			}
		}
		reconcile(ctx, latest)
	}
}
