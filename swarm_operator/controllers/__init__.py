"""The two reconcilers. A folder each: `reconciler.py` reads as a list of steps, its neighbours hold one concern each.

What both need stands here: the kinds (`kinds`), names and labels (`labels`), children (`children`), the status
(`status`).
"""
