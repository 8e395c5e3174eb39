package main

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"time"

	cfv1a1 "crossfade.dev/api/v1alpha1"
	"crossfade.dev/internal/admin"
	"crossfade.dev/internal/source/kube"
	"github.com/spf13/cobra"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
)

// home is where rollouts live.
type home interface {
	// list returns the rollouts of a namespace, of all for "".
	list(ctx context.Context, namespace string) ([]*cfv1a1.InferenceRollout, error)
	get(ctx context.Context, namespace, name string) (*cfv1a1.InferenceRollout, error)
	// ask hands a request to the rollout. version is what its author saw, "" asks in
	// any case; kube.ErrStale says that it is another one by now.
	ask(ctx context.Context, namespace, name, version string, r cfv1a1.RolloutRequest) error
	// namespace that a name without one is in; "" is any.
	namespace() string
}

// errNoRollout is returned where there is no rollout of a name.
var errNoRollout = errors.New("there is no such InferenceRollout")

// home returns where rollouts live: what a flag says, else what answers. What was
// guessed is told, so that nobody aborts in the wrong place.
func (f *rolloutFlags) home(cmd *cobra.Command) (home, error) {
	cluster := f.api.kubeconfig != "" || f.api.context != ""
	switch byAdmin := cmd.Flags().Changed("admin"); {
	case byAdmin && cluster:
		return nil, errors.New("--admin names a crossfade up, --kubeconfig and --context a cluster; give one of them")
	case byAdmin:
		return &adminHome{f.admin}, nil
	case cluster:
		h, _, err := f.cluster()
		return h, err
	}
	up := &adminHome{f.admin}
	probe, cancel := context.WithTimeout(cmd.Context(), f.glance)
	defer cancel()
	_, upErr := up.list(probe, "")
	if upErr == nil {
		warn(cmd, "using the crossfade up at %s (--context or --kubeconfig chooses a cluster)", f.admin)
		return up, nil
	}
	h, where, err := f.cluster()
	if err != nil {
		return nil, fmt.Errorf("no rollouts found: at the default address, %w; in a cluster, %w. Start crossfade up, or name its address with --admin; or name a cluster with --kubeconfig", upErr, err)
	}
	warn(cmd, "using %s (--admin chooses a crossfade up)", where)
	return h, nil
}

func (f *rolloutFlags) cluster() (h home, where string, err error) {
	cfg, err := f.api.load()
	if err != nil {
		return nil, "", err
	}
	p, err := kube.NewOperator(cfg)
	if err != nil {
		return nil, "", err
	}
	name, namespace := kube.Whereabouts(f.api.kubeconfig, f.api.context)
	return &clusterHome{p, namespace}, fmt.Sprintf("the cluster of context %q at %s", name, cfg.Host), nil
}

// clusterHome is a Kubernetes cluster.
type clusterHome struct {
	operator *kube.Operator
	current  string // namespace
}

// list falls back to the kubeconfig's namespace where one may not see all.
func (h *clusterHome) list(ctx context.Context, namespace string) ([]*cfv1a1.InferenceRollout, error) {
	all, err := h.operator.Rollouts(ctx, namespace)
	if namespace == "" && apierrors.IsForbidden(err) {
		return h.operator.Rollouts(ctx, h.current)
	}
	return all, err
}

func (h *clusterHome) get(ctx context.Context, namespace, name string) (*cfv1a1.InferenceRollout, error) {
	return h.operator.Rollout(ctx, namespace, name)
}

func (h *clusterHome) ask(ctx context.Context, namespace, name, version string, r cfv1a1.RolloutRequest) error {
	return h.operator.Ask(ctx, namespace, name, version, r)
}

func (h *clusterHome) namespace() string { return h.current }

// adminHome is a running crossfade up.
type adminHome struct{ address string }

func (h *adminHome) namespace() string { return "" }

func (h *adminHome) list(ctx context.Context, namespace string) ([]*cfv1a1.InferenceRollout, error) {
	body, err := fetchAdmin(ctx, h.address, "rollouts")
	if err != nil {
		return nil, err
	}
	var all admin.RolloutList
	if err := json.Unmarshal(body, &all); err != nil {
		return nil, fmt.Errorf("read rollouts from %s: %w", h.address, err)
	}
	return slices.DeleteFunc(all.Items, func(o *cfv1a1.InferenceRollout) bool {
		return o == nil || namespace != "" && o.Namespace != namespace
	}), nil
}

func (h *adminHome) get(ctx context.Context, namespace, name string) (*cfv1a1.InferenceRollout, error) {
	all, err := h.list(ctx, namespace)
	if err != nil {
		return nil, err
	}
	i := slices.IndexFunc(all, func(o *cfv1a1.InferenceRollout) bool { return o.Name == name })
	if i < 0 {
		return nil, fmt.Errorf("%s/%s at %s: %w", namespace, name, h.address, errNoRollout)
	}
	return all[i], nil
}

// ask posts the request. A crossfade up knows no versions: that of the attempt is
// in the request.
func (h *adminHome) ask(ctx context.Context, namespace, name, _ string, r cfv1a1.RolloutRequest) error {
	text, err := json.Marshal(r)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, fmt.Sprintf("http://%s/rollouts/%s/%s/request", h.address, namespace, name), bytes.NewReader(text))
	if err != nil {
		return fmt.Errorf("--admin %q is not host:port: %w", h.address, err)
	}
	req.Header.Set("Content-Type", "application/json")
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return fmt.Errorf("%s %s/%s: no crossfade up answers at %s: %w", r.Verb, namespace, name, h.address, err)
	}
	defer resp.Body.Close()
	if resp.StatusCode < 300 {
		return nil
	}
	why, _ := io.ReadAll(io.LimitReader(resp.Body, 4<<10)) // what could be read is shown
	err = errors.New(cmp.Or(strings.TrimSpace(string(why)), resp.Status))
	if resp.StatusCode == http.StatusConflict {
		err = refusedVerb{err}
	}
	return fmt.Errorf("%s %s/%s: %w", r.Verb, namespace, name, err)
}

// refusedVerb is an error of a crossfade up that a rollout is not in a state for what
// was asked, or another one than it was when its author looked.
type refusedVerb struct{ error }
