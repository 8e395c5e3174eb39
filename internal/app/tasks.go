package app

import (
	"context"
	"errors"
	"fmt"
	"sync"
)

// tasks are the goroutines of a role. When one fails, all are told to stop.
type tasks struct {
	stop   context.CancelFunc
	group  sync.WaitGroup
	mu     sync.Mutex
	errors []error
}

func newTasks(stop context.CancelFunc) *tasks { return &tasks{stop: stop} }

// start runs f; an error of f ends the role.
func (t *tasks) start(name string, f func() error) {
	t.group.Go(func() {
		if err := f(); err != nil {
			t.mu.Lock()
			t.errors = append(t.errors, fmt.Errorf("%s: %w", name, err))
			t.mu.Unlock()
			t.stop()
		}
	})
}

// wait returns what failed, when all have ended.
func (t *tasks) wait() error {
	t.group.Wait()
	return errors.Join(t.errors...)
}
