// Package loadbalancer is the cloud's part of Services of type LoadBalancer: it
// gives each an address. Making the address answer is kube-proxy's part, whose
// rules take traffic to status.loadBalancer.ingress on the way out of a process
// or pod, so no address is configured anywhere.
package loadbalancer

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"time"

	v1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/cache"
)

// Pool hands out addresses of a range, one owner each.
type Pool struct {
	within netip.Prefix
	last   netip.Addr
	owners map[netip.Addr]string
}

// NewPool starts behind the range's first address.
func NewPool(within netip.Prefix) *Pool {
	return &Pool{within: within, last: within.Addr(), owners: map[netip.Addr]string{}}
}

// Take gives owner the address it wants if it is free and anything at all that
// can be one, or its previous one, or the next free one. An address may be
// wanted outside the range: it is the caller's to route there.
func (p *Pool) Take(owner string, want, previous string) (netip.Addr, error) {
	if want != "" {
		addr, err := netip.ParseAddr(want)
		if err != nil || !addr.Is4() {
			return netip.Addr{}, fmt.Errorf("address %q: want an IPv4 address", want)
		}
		if other := p.owners[addr]; other != "" && other != owner {
			return netip.Addr{}, fmt.Errorf("address %s belongs to %s", want, other)
		}
		p.claim(owner, addr)
		return addr, nil
	}
	if addr, err := netip.ParseAddr(previous); err == nil && (p.owners[addr] == "" || p.owners[addr] == owner) {
		p.claim(owner, addr)
		return addr, nil
	}
	for range 1 << (32 - p.within.Bits()) {
		if p.last = p.last.Next(); !p.within.Contains(p.last) {
			p.last = p.within.Addr().Next()
		}
		if last := p.last.As4()[3]; last != 0 && last != 255 && p.owners[p.last] == "" {
			p.claim(owner, p.last)
			return p.last, nil
		}
	}
	return netip.Addr{}, errors.New("no load balancer address is free")
}

// claim lets go of whatever else owner has.
func (p *Pool) claim(owner string, addr netip.Addr) {
	p.Release(owner)
	p.owners[addr] = owner
}

// Release frees owner's address.
func (p *Pool) Release(owner string) {
	for addr, o := range p.owners {
		if o == owner {
			delete(p.owners, addr)
		}
	}
}

// Controller keeps the addresses of all Services.
type Controller struct {
	Client kubernetes.Interface
	Pool   *Pool
	// Route makes an address outside the pool's range reachable.
	Route  func(netip.Prefix) error
	Logger *slog.Logger

	routed map[string]bool
}

// Run gives and takes addresses until ctx ends. The informer calls its handler
// one at a time, so nothing here needs a lock.
func (c *Controller) Run(ctx context.Context) error {
	c.routed = map[string]bool{}
	factory := informers.NewSharedInformerFactory(c.Client, 0)
	_, err := factory.Core().V1().Services().Informer().AddEventHandler(cache.ResourceEventHandlerFuncs{
		AddFunc:    func(o any) { c.sync(ctx, o.(*v1.Service)) },
		UpdateFunc: func(_, o any) { c.sync(ctx, o.(*v1.Service)) },
		DeleteFunc: func(o any) {
			if tombstone, ok := o.(cache.DeletedFinalStateUnknown); ok {
				o = tombstone.Obj
			}
			if s, ok := o.(*v1.Service); ok {
				c.Pool.Release(owner(s))
			}
		},
	})
	if err != nil {
		return err
	}
	factory.Start(ctx.Done())
	<-ctx.Done()
	return nil
}

func owner(s *v1.Service) string { return s.Namespace + "/" + s.Name }

func (c *Controller) sync(ctx context.Context, s *v1.Service) {
	for _, ip := range s.Spec.ExternalIPs {
		c.route(ip)
	}
	if s.Spec.Type != v1.ServiceTypeLoadBalancer || s.DeletionTimestamp != nil || s.Spec.LoadBalancerClass != nil {
		c.Pool.Release(owner(s))
		return
	}
	has := ""
	if ingress := s.Status.LoadBalancer.Ingress; len(ingress) == 1 {
		has = ingress[0].IP
	}
	addr, err := c.Pool.Take(owner(s), s.Spec.LoadBalancerIP, has)
	if err != nil {
		// As a cloud would: the Service stays pending, and anybody can see why.
		c.Logger.Warn("load balancer", "service", owner(s), "error", err)
		return
	}
	if has == addr.String() {
		return
	}
	c.route(addr.String())
	if err := c.write(ctx, s, addr.String()); err != nil && !apierrors.IsNotFound(err) && ctx.Err() == nil {
		c.Logger.Error("load balancer", "service", owner(s), "error", err)
		// Only a change of the Service brings it back otherwise.
		time.AfterFunc(time.Second, func() { _ = c.write(ctx, s, addr.String()) })
	}
}

func (c *Controller) route(ip string) {
	addr, err := netip.ParseAddr(ip)
	if err != nil || !addr.Is4() || c.Pool.within.Contains(addr) || c.routed[ip] {
		return
	}
	if err := c.Route(netip.PrefixFrom(addr, 32)); err != nil {
		c.Logger.Error("route", "address", ip, "error", err)
		return
	}
	c.routed[ip] = true
}

func (c *Controller) write(ctx context.Context, s *v1.Service, ip string) error {
	vip := v1.LoadBalancerIPModeVIP
	patch, err := json.Marshal(map[string]any{
		"metadata": map[string]any{"uid": s.UID},
		"status":   v1.ServiceStatus{LoadBalancer: v1.LoadBalancerStatus{Ingress: []v1.LoadBalancerIngress{{IP: ip, IPMode: &vip}}}},
	})
	if err != nil {
		return err
	}
	_, err = c.Client.CoreV1().Services(s.Namespace).Patch(ctx, s.Name, types.MergePatchType, patch, metav1.PatchOptions{}, "status")
	return err
}
