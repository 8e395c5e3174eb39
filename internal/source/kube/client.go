package kube

import (
	"context"
	"net/http"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	utilruntime "k8s.io/apimachinery/pkg/util/runtime"
	apiwatch "k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/cache"
)

// clients talk to one API server over the same connections.
type clients struct {
	http    *http.Client
	dynamic dynamic.Interface
	core    map[schema.GroupVersion]rest.Interface
	params  runtime.ParameterCodec
}

// newClients returns clients of the API server of cfg. Kubernetes' own kinds are
// read typed and as protobuf, the others as JSON without a type: an object that
// does not fit ours must not take the list it is in with it.
func newClients(cfg *rest.Config) (*clients, error) {
	httpClient, err := rest.HTTPClientFor(cfg)
	if err != nil {
		return nil, err
	}
	c := &clients{http: httpClient, core: map[schema.GroupVersion]rest.Interface{}}
	if c.dynamic, err = dynamic.NewForConfigAndClient(cfg, httpClient); err != nil {
		return nil, err
	}
	scheme := runtime.NewScheme()
	utilruntime.Must(corev1.AddToScheme(scheme))
	utilruntime.Must(discoveryv1.AddToScheme(scheme))
	utilruntime.Must(appsv1.AddToScheme(scheme))
	c.params = runtime.NewParameterCodec(scheme)
	for _, gv := range []schema.GroupVersion{corev1.SchemeGroupVersion, discoveryv1.SchemeGroupVersion, appsv1.SchemeGroupVersion} {
		of := rest.CopyConfig(cfg)
		of.GroupVersion, of.APIPath = &gv, "/apis"
		if gv.Group == "" {
			of.APIPath = "/api"
		}
		of.NegotiatedSerializer = serializer.NewCodecFactory(scheme).WithoutConversion()
		of.ContentType = runtime.ContentTypeProtobuf
		of.AcceptContentTypes = runtime.ContentTypeProtobuf + "," + runtime.ContentTypeJSON
		if c.core[gv], err = rest.RESTClientForConfigAndClient(of, httpClient); err != nil {
			return nil, err
		}
	}
	return c, nil
}

// listWatch lists and watches what s covers of kind k in a version of it.
func (c *clients) listWatch(k *kind, version string, s scope) *cache.ListWatch {
	list, follow := c.untyped(k, version, s)
	if k.core {
		list, follow = c.typed(k, version, s)
	}
	narrow := func(o metav1.ListOptions) metav1.ListOptions {
		o.FieldSelector, o.LabelSelector = k.fields, s.labels
		if s.name != "" {
			o.FieldSelector = "metadata.name=" + s.name
		}
		return o
	}
	return &cache.ListWatch{
		ListWithContextFunc: func(ctx context.Context, o metav1.ListOptions) (runtime.Object, error) { return list(ctx, narrow(o)) },
		WatchFuncWithContext: func(ctx context.Context, o metav1.ListOptions) (apiwatch.Interface, error) {
			return follow(ctx, narrow(o))
		},
	}
}

type (
	listFunc  func(context.Context, metav1.ListOptions) (runtime.Object, error)
	watchFunc func(context.Context, metav1.ListOptions) (apiwatch.Interface, error)
)

func (c *clients) untyped(k *kind, version string, s scope) (listFunc, watchFunc) {
	resource := c.dynamic.Resource(schema.GroupVersionResource{Group: k.group, Version: version, Resource: k.plural}).Namespace(s.namespace)
	list := func(ctx context.Context, o metav1.ListOptions) (runtime.Object, error) {
		l, err := resource.List(ctx, o)
		if err != nil {
			return nil, err // not a typed nil
		}
		return l, nil
	}
	return list, resource.Watch
}

func (c *clients) typed(k *kind, version string, s scope) (listFunc, watchFunc) {
	client := c.core[schema.GroupVersion{Group: k.group, Version: version}]
	request := func(o *metav1.ListOptions) *rest.Request {
		return client.Get().Namespace(s.namespace).Resource(k.plural).VersionedParams(o, c.params)
	}
	list := func(ctx context.Context, o metav1.ListOptions) (runtime.Object, error) {
		return request(&o).Do(ctx).Get()
	}
	follow := func(ctx context.Context, o metav1.ListOptions) (apiwatch.Interface, error) {
		o.Watch = true
		return request(&o).Watch(ctx)
	}
	return list, follow
}
