package scheduling

import (
	"fmt"
	"testing"
	"time"
)

// A call may come with a snapshot that the scheduler has not been told of yet. Who
// joins by it is as new as who joins by Retain, and is given as little at first.
func TestNewcomersOfANewerSnapshot(t *testing.T) {
	s, now := New(Options{}), time.Unix(1000, 0)
	before, after := testPool("x", "a:1", "b:1"), testPool("x", "a:1", "b:1", "c:1")
	var booked []*Reservation
	pick := func(n int) {
		for range n {
			d, err := s.Pick(t.Context(), &Call{At: now}, after)
			if err != nil {
				t.Fatal(err)
			}
			booked = append(booked, d.Reservation)
		}
	}
	d, err := s.Pick(t.Context(), &Call{At: now}, before)
	if err != nil {
		t.Fatal(err)
	}
	booked = append(booked, d.Reservation)
	s.Retain(snapshotOf(before))
	pick(4)
	s.Retain(snapshotOf(after))
	pick(4)
	if got := s.Stats()[0].Endpoints[2]; got.InFlight != 1 || !got.Probation || got.Leaving {
		t.Errorf("the newcomer is given more than one request: %+v", got)
	}
	for _, r := range booked {
		r.End(EndResult{At: now})
	}
}

// A call with an older snapshot may bring an endpoint back while Retain is at work,
// between the pools and the servers. Its server must not be another than the one that
// scrapes are told to, should the endpoint come back for good.
func TestServersOutliveTheirEndpoints(t *testing.T) {
	s, now := New(Options{}), time.Unix(1000, 0)
	both, one := testPool("x", "a:1", "b:1"), testPool("x", "a:1")
	s.Retain(snapshotOf(both))
	call := &Call{At: now, Tried: []string{"b:1"}}
	first, err := s.Pick(t.Context(), call, both)
	if err != nil {
		t.Fatal(err)
	}
	// Retain, step by step.
	s.pools["x"].retain(one)
	second, err := s.Pick(t.Context(), call, both)
	if err != nil {
		t.Fatal(err)
	}
	s.servers.retain(snapshotOf(one))

	s.Retain(snapshotOf(both))
	if err := soundScheduler(s); err != nil {
		t.Error(err)
	}
	s.Observe("b:1", Metrics{At: now, Running: 7})
	if got := s.Stats()[0].Endpoints[1].Running; got != 7 {
		t.Errorf("b:1 has %d requests by the last scrape, want 7", got)
	}
	first.Reservation.End(EndResult{At: now})
	second.Reservation.End(EndResult{At: now})
}

// A call that has found its pool a moment before the pool was given up does not wait in
// it: nobody would tell it of places, and nobody would forget the pool.
func TestPoolIsGivenUpUnderACall(t *testing.T) {
	s, now := New(Options{}), time.Unix(1000, 0)
	pool := testPool("x", "a:1")
	stale := s.pool("x")
	s.Retain(snapshotOf())
	if _, _, err := stale.pick(&Call{At: now}, pool, nil, nil); err != errGivenUp {
		t.Errorf("error is %v", err)
	}
	d, err := s.Pick(t.Context(), &Call{At: now}, pool)
	if err != nil {
		t.Fatal(err)
	}
	d.Reservation.End(EndResult{At: now})
	if err := soundScheduler(s); err != nil {
		t.Error(err)
	}
	s.Retain(snapshotOf())
	if n := len(s.pools) + len(s.servers.byAddress); n != 0 {
		t.Errorf("%d pools and servers outlive the snapshot", n)
	}
}

// Gateways that say nothing any more make room for others, also when none of them is
// left to say something.
func TestSilentPeersMakeRoom(t *testing.T) {
	s, now := New(Options{}), time.Unix(1000, 0)
	pool := testPool("x", "a:1")
	d, err := s.Pick(t.Context(), &Call{At: now}, pool)
	if err != nil {
		t.Fatal(err)
	}
	d.Reservation.End(EndResult{At: now})
	news := func(origin string) {
		s.Merge(News{Origin: origin, Pools: []PoolNews{{ID: "x", Endpoints: []EndpointNews{{Address: "a:1", Requests: 3}}}}}, now)
	}
	for i := range newsOrigins {
		news(fmt.Sprint(i))
	}
	now = now.Add(time.Minute)
	news("another")
	if got := s.Stats()[0].Endpoints[0].Peers; got != 3 {
		t.Errorf("others have %d requests, want the 3 that were told of now", got)
	}
}
