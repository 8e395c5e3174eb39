package main

import (
	"context"
	"errors"
	"net/url"
	"os/signal"
	"syscall"

	"go.etcd.io/etcd/server/v3/embed"
)

// etcd runs a single, throw-away member: no fsync, no peers. Its arguments are
// the data directory and the client address as host:port.
func etcd(args []string) error {
	if len(args) != 2 {
		return errors.New("usage: hyper etcd DIRECTORY HOST:PORT")
	}
	cfg := embed.NewConfig()
	cfg.Dir = args[0]
	client := url.URL{Scheme: "http", Host: args[1]}
	cfg.ListenClientUrls, cfg.AdvertiseClientUrls = []url.URL{client}, []url.URL{client}
	cfg.ListenPeerUrls = []url.URL{{Scheme: "http", Host: "127.0.0.1:0"}}
	cfg.LogLevel = "warn"
	cfg.UnsafeNoFsync = true
	member, err := embed.StartEtcd(cfg)
	if err != nil {
		return err
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	select {
	case <-ctx.Done():
		member.Close()
		return nil
	case err := <-member.Err():
		return err
	}
}
