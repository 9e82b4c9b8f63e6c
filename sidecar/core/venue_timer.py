"""A venue's own dead-man's timer: kept armed while we live, disarmed only when nothing can arm it again.

Owns when the venue is to be told what, for one account. It must not know how. One call is under way at a time; each
ends as confirmed or as failed, and a failed one may still arrive at the venue.

| state     | input                            | next      | to be sent                                      |
|-----------|----------------------------------|-----------|-------------------------------------------------|
| IDLE      | tick                             | ARMING    | arm                                             |
| ARMING    | confirmed                        | ARMED     |                                                 |
| ARMING    | failed                           | RETRYING  |                                                 |
| RETRYING  | a ninth of the time has passed   | ARMING    | arm                                             |
| ARMED     | a third of the time has passed   | ARMING    | arm                                             |
| ARMING    | stop                             | STOPPING  | nothing: what is under way ends first           |
| STOPPING  | confirmed or failed              | DISARMING | disarm                                          |
| IDLE      | stop                             | OFF       |                                                 |
| ARMED     | stop                             | DISARMING | disarm                                          |
| RETRYING  | stop                             | DISARMING | disarm                                          |
| DISARMING | confirmed; no arming has failed  | OFF       |                                                 |
| DISARMING | confirmed, or failed; else       | WAITING   |                                                 |
| WAITING   | a ninth of the time has passed   | DISARMING | disarm, once more, behind what may have been    |
|           |                                  |           | late                                            |

Which way it fails: whoever is killed, or gives up waiting for OFF, leaves the timer armed, and the venue cancels.
"""

from enum import Enum


class TimerState(Enum):
    """Where one account's timer stands, as far as we told the venue."""

    IDLE = "idle"
    ARMING = "arming"
    ARMED = "armed"
    RETRYING = "retrying"
    STOPPING = "stopping"
    DISARMING = "disarming"
    WAITING = "waiting"
    OFF = "off"


class VenueTimer:
    """One account's timer of `after_ns`."""

    def __init__(self, after_ns: int) -> None:
        self.state = TimerState.IDLE
        self._after_ns = after_ns
        self._sent_ns = 0
        self._confirmed_ns: int | None = None
        self._uncertain = False

    def tick(self, now_ns: int) -> int | None:
        """What to tell the venue now: the time to arm it with, 0 to disarm it, or None for nothing."""
        waited_ns = now_ns - self._sent_ns
        match self.state:
            case TimerState.IDLE:
                return self._send(TimerState.ARMING, now_ns)
            case TimerState.ARMED if 3 * waited_ns >= self._after_ns:
                return self._send(TimerState.ARMING, now_ns)
            case TimerState.RETRYING if 9 * waited_ns >= self._after_ns:
                return self._send(TimerState.ARMING, now_ns)
            case TimerState.WAITING if 9 * waited_ns >= self._after_ns:
                return self._send(TimerState.DISARMING, now_ns)
            case _:
                return None

    def ended(self, *, confirmed: bool, now_ns: int) -> int | None:
        """The call under way ended; what to tell the venue next, as for `tick`."""
        match self.state:
            case TimerState.ARMING:
                self._note(confirmed)
                self.state = TimerState.ARMED if confirmed else TimerState.RETRYING
            case TimerState.STOPPING:
                self._note(confirmed)
                return self._send(TimerState.DISARMING, now_ns)
            case TimerState.DISARMING:
                again = self._uncertain or not confirmed
                self._uncertain = not confirmed
                self.state = TimerState.WAITING if again else TimerState.OFF
            case _:
                pass
        return None

    def stop(self, now_ns: int) -> int | None:
        """End it: what to tell the venue now, as for `tick`. It is over when the state is OFF."""
        match self.state:
            case TimerState.IDLE:
                self.state = TimerState.OFF
            case TimerState.ARMING:
                self.state = TimerState.STOPPING
            case TimerState.ARMED | TimerState.RETRYING:
                return self._send(TimerState.DISARMING, now_ns)
            case _:
                pass
        return None

    def trouble(self, now_ns: int) -> str:
        """Why the venue may have cancelled, or will not; empty while the timer is armed as it should be."""
        if self.state in (TimerState.OFF, TimerState.IDLE):
            return ""
        if self._confirmed_ns is None:
            return "the venue's cancel-all-after timer could not be armed yet" if self._uncertain else ""
        if now_ns - self._confirmed_ns >= self._after_ns:
            return "the venue's cancel-all-after timer was not renewed in time: it has cancelled the account's orders"
        return ""

    def _send(self, state: TimerState, now_ns: int) -> int:
        self.state, self._sent_ns = state, now_ns
        return self._after_ns if state is TimerState.ARMING else 0

    def _note(self, confirmed: bool) -> None:
        if confirmed:
            self._confirmed_ns = self._sent_ns
        self._uncertain = not confirmed
