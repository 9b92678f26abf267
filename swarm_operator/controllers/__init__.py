"""Reconcilers of the custom resources: a folder for each kind, in it a module or package for each concern.

`common` has what both kinds need and knows no concern: passes and steps, children, finalizers, Jobs, conditions.
"""
