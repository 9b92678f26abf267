package main

import (
	"context"
	"math/rand/v2"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	clientgo "k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/tools/events"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller/controllerutil"
	"sigs.k8s.io/json"
)

const digestAnnotation = "swarm.claudeflow.io/applied-configuration"

// Reconciler applies what was recorded to each store, and writes nothing when it is there.
type Reconciler struct {
	client.Client
	live      client.Reader
	events    events.EventRecorder
	recorded  *Recording
	interval  time.Duration
	liveReads bool
}

// Reconcile makes one pass over one store.
func (r *Reconciler) Reconcile(ctx context.Context, request ctrl.Request) (ctrl.Result, error) {
	store := &unstructured.Unstructured{}
	store.SetGroupVersionKind(r.recorded.Status.GroupVersionKind())
	if err := r.Get(ctx, request.NamespacedName, store); err != nil {
		return ctrl.Result{}, client.IgnoreNotFound(err)
	}
	if store.GetDeletionTimestamp() != nil {
		return ctrl.Result{}, nil
	}
	if err := r.addFinalizers(ctx, store); err != nil {
		return ctrl.Result{}, err
	}
	fill := strings.NewReplacer(
		"{name}", store.GetName(), "{namespace}", store.GetNamespace(), "{uid}", string(store.GetUID()))
	for _, child := range r.recorded.Children {
		if err := r.ensure(ctx, store, child, fill); err != nil {
			return ctrl.Result{}, err
		}
	}
	if err := r.writeStatus(ctx, store, fill); err != nil {
		return ctrl.Result{}, err
	}
	return ctrl.Result{RequeueAfter: time.Duration(float64(r.interval) * (0.9 + 0.2*rand.Float64()))}, nil
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
	ctx context.Context, store *unstructured.Unstructured, child Child, fill *strings.Replacer,
) error {
	obj, err := clientgo.Scheme.New(child.GroupVersionKind())
	if err != nil {
		return err
	}
	live := obj.(client.Object)
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
		r.tell(store, live, child.Kind+" "+child.Name, fill)
	}
	return err
}

func (r *Reconciler) writeStatus(ctx context.Context, store *unstructured.Unstructured, fill *strings.Replacer) error {
	body, wanted, err := r.recorded.statusOf(fill)
	if err != nil || equality.Semantic.DeepEqual(store.Object["status"], wanted) {
		return err
	}
	patch := client.RawPatch(types.ApplyPatchType, body)
	err = r.Status().Patch(ctx, store, patch, client.FieldOwner("swarm-operator"), client.ForceOwnership)
	if err == nil {
		r.tell(store, nil, "", fill)
	}
	return err
}

// tell sends the events that were recorded for the creation of a child, or for the status.
func (r *Reconciler) tell(store *unstructured.Unstructured, related runtime.Object, child string, fill *strings.Replacer) {
	for _, event := range r.recorded.Events {
		if event.Child == child {
			r.events.Eventf(store, related, event.Type, event.Reason, event.Action, "%s", fill.Replace(event.Note))
		}
	}
}
