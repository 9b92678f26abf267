package main

import (
	"strings"

	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/json"
)

// Recording is what swarm-operator wrote for one store. Texts hold {name}, {namespace} and {uid} of the store.
type Recording struct {
	Finalizers []string `json:"finalizers"`
	Children   []Child  `json:"children"`
	Status     Template `json:"status"`
	Events     []Event  `json:"events"`
}

// Child is one object that a store owns.
type Child struct {
	Template
	// Name of the object.
	Name string `json:"name"`
	// Digest is the annotation that tells whether what was applied last is what is wanted; empty for what is only
	// ever created.
	Digest string `json:"digest"`
}

// Template is the body of a write.
type Template struct {
	APIVersion string `json:"apiVersion"`
	Kind       string `json:"kind"`
	Body       string `json:"body"`
}

// Event is one event about the store.
type Event struct {
	Type   string `json:"type"`
	Reason string `json:"reason"`
	Action string `json:"action"`
	Note   string `json:"note"`
	// Child is the kind and the name whose creation it tells of; empty when it tells of the status.
	Child string `json:"child"`
}

// GroupVersionKind of the object.
func (t Template) GroupVersionKind() schema.GroupVersionKind {
	return schema.FromAPIVersionAndKind(t.APIVersion, t.Kind)
}

func (r *Recording) kinds() []schema.GroupVersionKind {
	seen := map[schema.GroupVersionKind]bool{}
	var kinds []schema.GroupVersionKind
	for _, child := range r.Children {
		if kind := child.GroupVersionKind(); !seen[kind] {
			seen[kind] = true
			kinds = append(kinds, kind)
		}
	}
	return kinds
}

// statusOf fills the status in.
func (r *Recording) statusOf(fill *strings.Replacer) (body []byte, status any, err error) {
	body = []byte(fill.Replace(r.Status.Body))
	decoded := map[string]any{}
	err = json.UnmarshalCaseSensitivePreserveInts(body, &decoded)
	return body, decoded["status"], err
}
