// The reference that swarm-operator is measured against: the same writes, by sigs.k8s.io/controller-runtime.
//
// It does not know what a store or a cluster needs. It is given the requests that swarm-operator sent for one (see
// ../recording.py) and sends the same for every other, so that both write objects of the same size in the same order,
// and nobody has to keep two sets of builders alike.
package main

import (
	"encoding/json"
	"flag"
	"os"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/labels"
	clientgo "k8s.io/client-go/kubernetes/scheme"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/builder"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller"
	"sigs.k8s.io/controller-runtime/pkg/log/zap"
	metrics "sigs.k8s.io/controller-runtime/pkg/metrics/server"
	"sigs.k8s.io/controller-runtime/pkg/predicate"
)

func main() {
	recording := flag.String("recording", "", "JSON file with the writes for one object of each kind")
	selector := flag.String("selector", "", "label selector of the children")
	address := flag.String("metrics-bind-address", "0", "where /metrics is served")
	workers := flag.Int("max-concurrent-reconciles", 4, "workers")
	interval := flag.Duration("waiting-interval", 5*time.Second, "time between two looks at an object that is not ready")
	liveReads := flag.Bool("live-reads", false, "ask the server for a child that the cache lacks before it is applied")
	flag.Parse()
	ctrl.SetLogger(zap.New())
	if err := run(*recording, *selector, *address, *workers, *interval, *liveReads); err != nil {
		ctrl.Log.Error(err, "exiting")
		os.Exit(1)
	}
}

func run(path, selector, address string, workers int, interval time.Duration, liveReads bool) error {
	input, err := read(path)
	if err != nil {
		return err
	}
	children, err := labels.Parse(selector)
	if err != nil {
		return err
	}
	// What is owned and may be watched. Secrets are read one by one: the rights are swarm-operator's own.
	selected := map[client.Object]cache.ByObject{}
	owned := map[*Recording][]client.Object{}
	seen := map[string]bool{}
	var uncached []client.Object
	for _, recorded := range input.Objects {
		for _, kind := range recorded.kinds() {
			obj, err := newObject(kind)
			if err != nil {
				return err
			}
			if kind.Kind == "Secret" {
				uncached = append(uncached, obj)
				continue
			}
			owned[recorded] = append(owned[recorded], obj)
			if clientgo.Scheme.Recognizes(kind) && !seen[kind.Kind] {
				seen[kind.Kind] = true
				selected[obj] = cache.ByObject{Label: children}
			}
		}
	}
	manager, err := ctrl.NewManager(ctrl.GetConfigOrDie(), ctrl.Options{
		Scheme:  clientgo.Scheme,
		Metrics: metrics.Options{BindAddress: address},
		Cache:   cache.Options{ByObject: selected, DefaultTransform: cache.TransformStripManagedFields()},
		Client: client.Options{
			// Stores are unstructured; without this they would be read from the server, not from the cache.
			Cache: &client.CacheOptions{DisableFor: uncached, Unstructured: true},
		},
	})
	if err != nil {
		return err
	}
	for _, recorded := range input.Objects {
		reconciler := &Reconciler{
			Client:    manager.GetClient(),
			live:      manager.GetAPIReader(),
			events:    manager.GetEventRecorder("swarm-operator"),
			recorded:  recorded,
			interval:  interval,
			liveReads: liveReads,
		}
		obj := &unstructured.Unstructured{}
		obj.SetGroupVersionKind(recorded.GroupVersionKind())
		build := ctrl.NewControllerManagedBy(manager).Named(strings.ToLower(recorded.Kind)).
			WithOptions(controller.Options{MaxConcurrentReconciles: workers}).
			For(obj, builder.WithPredicates(predicate.Or(
				predicate.GenerationChangedPredicate{}, predicate.AnnotationChangedPredicate{},
				predicate.LabelChangedPredicate{},
			)))
		for _, child := range owned[recorded] {
			build = build.Owns(child)
		}
		if err := build.Complete(reconciler); err != nil {
			return err
		}
	}
	return manager.Start(ctrl.SetupSignalHandler())
}

func read(path string) (*Input, error) {
	content, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	input := &Input{}
	return input, json.Unmarshal(content, input)
}
