package main

import (
	"strings"

	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/json"
)

// Input is what swarm-operator wrote for one object of each kind that it reconciled.
type Input struct {
	Objects []*Recording `json:"objects"`
}

// Recording is what was written for one object. Texts hold {namespace} and {uid} of the object, and {name}: that of the
// object, or of the cluster whose memory it is.
type Recording struct {
	APIVersion string   `json:"apiVersion"`
	Kind       string   `json:"kind"`
	Finalizers []string `json:"finalizers"`
	Stages     []Stage  `json:"stages"`
}

// Stage is a part of it.
type Stage struct {
	// After is what has to be ready before; nothing for the first stage.
	After    *Gate      `json:"after"`
	Children []Child    `json:"children"`
	Statuses []Template `json:"statuses"`
	Events   []Event    `json:"events"`
}

// Gate is an object that has to be ready.
type Gate struct {
	Kind string `json:"kind"`
	Name string `json:"name"`
}

// Child is one object that the object owns.
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

// Event is one event about the object.
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

// GroupVersionKind of the object that is reconciled.
func (r *Recording) GroupVersionKind() schema.GroupVersionKind {
	return schema.FromAPIVersionAndKind(r.APIVersion, r.Kind)
}

func (r *Recording) kinds() []schema.GroupVersionKind {
	seen := map[schema.GroupVersionKind]bool{}
	var kinds []schema.GroupVersionKind
	for _, stage := range r.Stages {
		for _, child := range stage.Children {
			if kind := child.GroupVersionKind(); !seen[kind] {
				seen[kind] = true
				kinds = append(kinds, kind)
			}
		}
	}
	return kinds
}

// fill fills a status in.
func (t Template) fill(values *strings.Replacer) (body []byte, status any, err error) {
	body = []byte(values.Replace(t.Body))
	decoded := map[string]any{}
	err = json.UnmarshalCaseSensitivePreserveInts(body, &decoded)
	return body, decoded["status"], err
}
