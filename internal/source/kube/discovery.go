package kube

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"slices"

	apidiscovery "k8s.io/api/apidiscovery/v2"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/rest"
)

// discovery knows which versions of which kinds an API server serves. It asks for
// the one document that names them all (Kubernetes 1.30), with the tag of the last
// answer, so that asking again costs next to nothing. Watching
// CustomResourceDefinitions instead would need a right of its own and would send
// every one's schema, or at least its annotations, to every gateway.
type discovery struct {
	http *http.Client
	url  string
	tag  string
	// served versions by kind; nil before the first answer.
	served map[schema.GroupKind][]string
}

// maxDiscovery bounds the document, in bytes; thousands of kinds fit.
const maxDiscovery = 64 << 20

const discoveryDocument = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"

func newDiscovery(cfg *rest.Config, client *http.Client) (*discovery, error) {
	base, _, err := rest.DefaultServerUrlFor(cfg)
	if err != nil {
		return nil, err
	}
	return &discovery{http: client, url: base.JoinPath("apis").String()}, nil
}

// refusedError is an answer of an API server that will not say what it serves.
type refusedError struct{ status string }

func (e *refusedError) Error() string { return "discovery is refused: " + e.status }

// refresh asks again and reports whether the answer differs from the last one.
func (d *discovery) refresh(ctx context.Context) (changed bool, err error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, d.url, nil)
	if err != nil {
		return false, err
	}
	request.Header.Set("Accept", discoveryDocument)
	if d.tag != "" {
		request.Header.Set("If-None-Match", d.tag)
	}
	response, err := d.http.Do(request)
	if err != nil {
		return false, fmt.Errorf("discover kinds: %w", err)
	}
	defer response.Body.Close()
	switch response.StatusCode {
	case http.StatusNotModified:
		return false, nil
	case http.StatusForbidden, http.StatusNotAcceptable:
		return false, &refusedError{response.Status}
	case http.StatusOK:
	default:
		return false, fmt.Errorf("discover kinds: %s", response.Status)
	}
	var document apidiscovery.APIGroupDiscoveryList
	if err := json.NewDecoder(io.LimitReader(response.Body, maxDiscovery)).Decode(&document); err != nil {
		return false, fmt.Errorf("discover kinds: %w", err)
	}
	if document.Kind != "APIGroupDiscoveryList" {
		return false, &refusedError{"the answer is a " + document.Kind}
	}
	served := servedBy(&document)
	changed = d.served == nil || !maps.EqualFunc(d.served, served, slices.Equal)
	d.served, d.tag = served, response.Header.Get("ETag")
	return changed, nil
}

// servedBy returns the versions of each of our kinds in a document.
func servedBy(document *apidiscovery.APIGroupDiscoveryList) map[schema.GroupKind][]string {
	ours := map[schema.GroupKind]string{}
	for _, k := range kinds {
		ours[k.groupKind()] = k.plural
	}
	served := map[schema.GroupKind][]string{}
	for _, g := range document.Items {
		for _, v := range g.Versions {
			for _, r := range v.Resources {
				if r.ResponseKind == nil {
					continue
				}
				gk := schema.GroupKind{Group: g.Name, Kind: r.ResponseKind.Kind}
				if ours[gk] == r.Resource {
					served[gk] = append(served[gk], v.Version)
				}
			}
		}
	}
	return served
}

// version returns the version of k to read, or false when none is served that we
// can. Nothing is known of a server that refuses to say: then it is worth a try.
func (d *discovery) version(k *kind) (string, bool) {
	if k.core || d.served == nil {
		return k.versions[0], true
	}
	for _, v := range k.versions {
		if slices.Contains(d.served[k.groupKind()], v) {
			return v, true
		}
	}
	return "", false
}

// forget makes the next refresh ask for the whole document.
func (d *discovery) forget() { d.tag = "" }
