"""All metrics that the reconcilers add to those of the runtime. The program registers them."""

from __future__ import annotations

from swarm_operator.controllers.swarmmemorybackup import metrics as backups
from swarm_operator.controllers.swarmmemoryrestore import metrics as restores
from swarm_operator.controllers.swarmmemorystore.backups import metrics as stores

COLLECTORS = (
    stores.LAST_VERIFIED,
    backups.FAILURES,
    backups.DURATION,
    backups.SIZE,
    restores.FAILURES,
    restores.DURATION,
)
