package main

import (
	"context"
	"math/rand/v2"
	"strings"
	"sync"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	clientgo "k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/tools/events"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller/controllerutil"
	"sigs.k8s.io/json"
)

const (
	digestAnnotation = "swarm.claudeflow.io/applied-configuration"
	memorySuffix     = "-memory"
)

// Reconciler applies what was recorded to each object, and writes nothing when it is there.
type Reconciler struct {
	client.Client
	live      client.Reader
	events    events.EventRecorder
	recorded  *Recording
	interval  time.Duration
	liveReads bool
	// written is the number of statuses that were written so far, by the object's UID: the cache may lag behind.
	written sync.Map
}

// Reconcile makes one pass over one object.
func (r *Reconciler) Reconcile(ctx context.Context, request ctrl.Request) (ctrl.Result, error) {
	store := &unstructured.Unstructured{}
	store.SetGroupVersionKind(r.recorded.GroupVersionKind())
	if err := r.Get(ctx, request.NamespacedName, store); err != nil {
		return ctrl.Result{}, client.IgnoreNotFound(err)
	}
	if store.GetDeletionTimestamp() != nil {
		return ctrl.Result{}, nil
	}
	if err := r.addFinalizers(ctx, store); err != nil {
		return ctrl.Result{}, err
	}
	fill := strings.NewReplacer("{name}", strings.TrimSuffix(store.GetName(), memorySuffix),
		"{namespace}", store.GetNamespace(), "{uid}", string(store.GetUID()))
	var statuses []statusWrite
	for _, stage := range r.recorded.Stages {
		ready, err := r.isReady(ctx, store.GetNamespace(), stage.After, fill)
		if err != nil {
			return ctrl.Result{}, err
		}
		if !ready {
			break
		}
		for _, child := range stage.Children {
			if err := r.ensure(ctx, store, child, stage.Events, fill); err != nil {
				return ctrl.Result{}, err
			}
		}
		for place, status := range stage.Statuses {
			write := statusWrite{Template: status}
			if place == len(stage.Statuses)-1 {
				write.events = stage.Events
			}
			statuses = append(statuses, write)
		}
	}
	if err := r.writeStatus(ctx, store, statuses, fill); err != nil {
		return ctrl.Result{}, err
	}
	return ctrl.Result{RequeueAfter: time.Duration(float64(r.interval) * (0.9 + 0.2*rand.Float64()))}, nil
}

// statusWrite is a status, and the events that are told with it.
type statusWrite struct {
	Template
	events []Event
}

// isReady says whether a stage may begin.
func (r *Reconciler) isReady(ctx context.Context, namespace string, gate *Gate, fill *strings.Replacer) (bool, error) {
	if gate == nil {
		return true, nil
	}
	key := types.NamespacedName{Namespace: namespace, Name: fill.Replace(gate.Name)}
	if gate.Kind == "StatefulSet" {
		workload := &appsv1.StatefulSet{}
		err := r.Get(ctx, key, workload)
		return err == nil && workload.Status.ReadyReplicas > 0, client.IgnoreNotFound(err)
	}
	obj := &unstructured.Unstructured{}
	obj.SetGroupVersionKind(r.recorded.GroupVersionKind().GroupVersion().WithKind(gate.Kind))
	if err := r.Get(ctx, key, obj); err != nil {
		return false, client.IgnoreNotFound(err)
	}
	conditions, _, err := unstructured.NestedSlice(obj.Object, "status", "conditions")
	for _, each := range conditions {
		if condition := each.(map[string]any); condition["type"] == "Ready" {
			return condition["status"] == "True", err
		}
	}
	return false, err
}

func (r *Reconciler) addFinalizers(ctx context.Context, store *unstructured.Unstructured) error {
	patch := client.MergeFromWithOptions(store.DeepCopy(), client.MergeFromWithOptimisticLock{})
	added := false
	for _, name := range r.recorded.Finalizers {
		added = controllerutil.AddFinalizer(store, name) || added
	}
	if !added {
		return nil
	}
	return r.Patch(ctx, store, patch, client.FieldOwner("swarm-operator"))
}

func (r *Reconciler) ensure(
	ctx context.Context, store *unstructured.Unstructured, child Child, events []Event, fill *strings.Replacer,
) error {
	live, err := newObject(child.GroupVersionKind())
	if err != nil {
		return err
	}
	key := types.NamespacedName{Namespace: store.GetNamespace(), Name: fill.Replace(child.Name)}
	err = r.Get(ctx, key, live)
	if apierrors.IsNotFound(err) && r.liveReads && child.Digest != "" {
		err = r.live.Get(ctx, key, live)
	}
	missing := apierrors.IsNotFound(err)
	if err != nil && !missing {
		return err
	}
	if !missing && live.GetAnnotations()[digestAnnotation] == child.Digest {
		return nil
	}
	body := []byte(fill.Replace(child.Body))
	if child.Digest == "" {
		if err := json.UnmarshalCaseSensitivePreserveInts(body, live); err != nil {
			return err
		}
		err = r.Create(ctx, live, client.FieldOwner("swarm-operator"))
	} else {
		live.SetNamespace(key.Namespace)
		live.SetName(key.Name)
		patch := client.RawPatch(types.ApplyPatchType, body)
		err = r.Patch(ctx, live, patch, client.FieldOwner("swarm-operator"), client.ForceOwnership)
	}
	if err == nil && missing {
		r.tell(store, live, child.Kind+" "+child.Name, events, fill)
	}
	return err
}

// writeStatus writes those of the statuses that come after the one that the object has.
func (r *Reconciler) writeStatus(
	ctx context.Context, store *unstructured.Unstructured, statuses []statusWrite, fill *strings.Replacer,
) error {
	reached := 0
	if written, found := r.written.Load(store.GetUID()); found {
		reached = written.(int)
	}
	for place := len(statuses) - 1; place >= reached; place-- {
		_, wanted, err := statuses[place].fill(fill)
		if err != nil {
			return err
		}
		if equality.Semantic.DeepEqual(store.Object["status"], wanted) {
			reached = place + 1
		}
	}
	for ; reached < len(statuses); reached++ {
		body, _, err := statuses[reached].fill(fill)
		if err != nil {
			return err
		}
		patch := client.RawPatch(types.ApplyPatchType, body)
		if err := r.Status().Patch(ctx, store, patch, client.FieldOwner("swarm-operator"), client.ForceOwnership); err != nil {
			return err
		}
		r.written.Store(store.GetUID(), reached+1)
		r.tell(store, nil, "", statuses[reached].events, fill)
	}
	return nil
}

// newObject makes an object of a kind: one of Kubernetes, or of ours without a type.
func newObject(kind schema.GroupVersionKind) (client.Object, error) {
	if !clientgo.Scheme.Recognizes(kind) {
		obj := &unstructured.Unstructured{}
		obj.SetGroupVersionKind(kind)
		return obj, nil
	}
	obj, err := clientgo.Scheme.New(kind)
	if err != nil {
		return nil, err
	}
	return obj.(client.Object), nil
}

// tell sends the events that were recorded for the creation of a child, or for the status.
func (r *Reconciler) tell(
	store *unstructured.Unstructured, related runtime.Object, child string, events []Event, fill *strings.Replacer,
) {
	for _, event := range events {
		if event.Child == child {
			r.events.Eventf(store, related, event.Type, event.Reason, event.Action, "%s", fill.Replace(event.Note))
		}
	}
}
