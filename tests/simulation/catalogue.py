"""All mutations, of every room's rules."""

from book_mutations import BOOK_MUTATIONS
from halt_mutations import HALT_MUTATIONS
from mutations import MUTATIONS
from once_mutations import ONCE_MUTATIONS
from order_mutations import ORDER_MUTATIONS
from snapshot_mutations import SNAPSHOT_MUTATIONS

ALL_MUTATIONS = (*MUTATIONS, *HALT_MUTATIONS, *SNAPSHOT_MUTATIONS, *ORDER_MUTATIONS, *BOOK_MUTATIONS, *ONCE_MUTATIONS)
"""Rules without a mutation that bites here, and where they are held instead.

- "The hash chain is compared" (7.7): there is one journal; that all folds agree is required at each snapshot.
- "A snapshot is of the log, and not of what its author has decided since" (7.6): what was decided is mostly in the log
  a moment later; test_checkpoints.py.
- "A ClOrdID is used once" (8): a component does not ask twice by itself, and a question that is repeated is answered as
  before, whatever the check says; test_verifier.py. What forgets orders is caught.
- "Judge silence only when awake", "settle before granting", "a deaf holder is not renewed" and "a standby that nobody
  answers campaigns" protect service, not safety: test_slots.py, test_hearing.py, test_leadership.py.
"""
