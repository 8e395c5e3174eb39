package agent

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"

	v1 "k8s.io/api/core/v1"

	"crossfade.dev/test/cluster/internal/container"
	"crossfade.dev/test/cluster/internal/images"
	"crossfade.dev/test/cluster/internal/network"
	"crossfade.dev/test/cluster/internal/volumes"
)

// spec works out how a container is started, or why it cannot be.
func (w *worker) spec(ctx context.Context, c *containerState) (container.Spec, error) {
	image, ok := w.agent.Images.Lookup(c.spec.Image)
	if !ok {
		err := fmt.Errorf("no entry of the image map matches %q", c.spec.Image)
		return container.Spec{}, &startError{"ErrImagePull", err}
	}
	spec, err := w.configure(ctx, c, image)
	if err != nil {
		return container.Spec{}, &startError{"CreateContainerConfigError", err}
	}
	if spec.Scratch, err = w.scratch(c.spec.Name); err != nil {
		return container.Spec{}, err
	}
	if spec.Mounts, err = w.mounts(&c.spec, image); err != nil {
		return container.Spec{}, err
	}
	return spec, nil
}

func (w *worker) configure(ctx context.Context, c *containerState, image *images.Image) (container.Spec, error) {
	base := map[string]string{
		"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin:/", "HOSTNAME": w.hostname(),
		"KUBERNETES_SERVICE_HOST": network.KubernetesIP, "KUBERNETES_SERVICE_PORT": "443",
		"KUBERNETES_SERVICE_PORT_HTTPS": "443", "KUBERNETES_PORT": "tcp://" + network.KubernetesIP + ":443",
	}
	maps.Copy(base, image.Env)
	env, err := w.filler().Env(ctx, &c.spec, base)
	if err != nil {
		return container.Spec{}, err
	}
	argv, err := image.Argv(volumes.Expand(c.spec.Command, env), volumes.Expand(c.spec.Args, env))
	if err != nil {
		return container.Spec{}, err
	}
	spec := container.Spec{
		HostRoot: image.HostRoot, Hostname: w.hostname(), Argv: argv, Env: volumes.List(env), WorkingDir: c.spec.WorkingDir,
	}
	return spec, security(&spec, image.UID, w.pod.Spec.SecurityContext, c.spec.SecurityContext)
}

// security joins what image, pod and container say about the user; the
// container's word counts most.
func security(spec *container.Spec, uid int, pod *v1.PodSecurityContext, c *v1.SecurityContext) error {
	if pod == nil {
		pod = &v1.PodSecurityContext{}
	}
	if c == nil {
		c = &v1.SecurityContext{}
	}
	pick := func(fallback int, choices ...*int64) int {
		for _, choice := range choices {
			if choice != nil {
				return int(*choice)
			}
		}
		return fallback
	}
	spec.UID = pick(uid, c.RunAsUser, pod.RunAsUser)
	spec.GID = pick(0, c.RunAsGroup, pod.RunAsGroup)
	nonRoot := c.RunAsNonRoot
	if nonRoot == nil {
		nonRoot = pod.RunAsNonRoot
	}
	if nonRoot != nil && *nonRoot && spec.UID == 0 {
		return errors.New("container has runAsNonRoot and image will run as root")
	}
	for _, g := range pod.SupplementalGroups {
		spec.Groups = append(spec.Groups, int(g))
	}
	if pod.FSGroup != nil {
		spec.Groups = append(spec.Groups, int(*pod.FSGroup))
	}
	spec.NoNewPrivs = c.AllowPrivilegeEscalation != nil && !*c.AllowPrivilegeEscalation
	spec.ReadOnlyRoot = c.ReadOnlyRootFilesystem != nil && *c.ReadOnlyRootFilesystem
	return nil
}

func (w *worker) hostname() string {
	name := w.pod.Spec.Hostname
	if name == "" {
		name = w.pod.Name
	}
	return name[:min(len(name), 63)]
}

// scratch is an empty folder for the container's root; an older run's mounts
// ended with its mount namespace.
func (w *worker) scratch(name string) (string, error) {
	path := filepath.Join(w.folder, "scratch", name)
	return path, os.MkdirAll(path, 0o755)
}

// mounts lists the image's files, those a runtime adds, and the volumes.
func (w *worker) mounts(c *v1.Container, image *images.Image) ([]container.Mount, error) {
	etc, err := w.etc()
	if err != nil {
		return nil, err
	}
	mounts := etc
	if image.Program != "" && !image.HostRoot {
		mounts = append(mounts, container.Mount{Path: image.Path, Source: image.Program, ReadOnly: true})
	} else if image.Program != "" && image.Path != image.Program {
		mounts = append(mounts, container.Mount{Path: image.Path, Source: image.Program})
	}
	for inside, outside := range image.Files {
		mounts = append(mounts, container.Mount{Path: inside, Source: outside, ReadOnly: true})
	}
	for _, m := range c.VolumeMounts {
		source, err := volumes.SubPath(w.volume(m.Name), m.SubPath)
		if err != nil {
			return nil, fmt.Errorf("mount %s: %w", m.MountPath, err)
		}
		mounts = append(mounts, container.Mount{Path: m.MountPath, Source: source, ReadOnly: m.ReadOnly})
	}
	return mounts, nil
}

// etc writes the pod's /etc/hosts and /etc/resolv.conf. There is no DNS server:
// a name that is not in hosts is refused at once rather than after a time-out.
func (w *worker) etc() ([]container.Mount, error) {
	folder := filepath.Join(w.folder, "etc")
	if err := os.MkdirAll(folder, 0o755); err != nil {
		return nil, err
	}
	hosts := fmt.Sprintf("127.0.0.1\tlocalhost\n::1\tlocalhost\n%s\t%s\n", w.ip, w.hostname())
	for _, alias := range w.pod.Spec.HostAliases {
		for _, name := range alias.Hostnames {
			hosts += alias.IP + "\t" + name + "\n"
		}
	}
	var mounts []container.Mount
	for name, text := range map[string]string{
		"hosts":       hosts,
		"resolv.conf": "nameserver 127.0.0.1\nsearch " + w.pod.Namespace + ".svc.cluster.local svc.cluster.local cluster.local\noptions ndots:5\n",
	} {
		file := filepath.Join(folder, name)
		if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
			return nil, err
		}
		mounts = append(mounts, container.Mount{Path: "/etc/" + name, Source: file})
	}
	return mounts, nil
}
