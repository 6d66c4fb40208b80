// SPDX-License-Identifier: Apache-2.0

package envelope

// MaxLifecycleEvent is how long an encoded LifecycleEvent may be, in bytes.
const MaxLifecycleEvent = 512

// LifecycleEvent is a line of a broker's or service's history (section 4.4).
type LifecycleEvent struct {
	TSMS           uint64 // Unix milliseconds
	PID            uint32
	ServiceName    string
	Kind           EventKind
	Reason         string
	Extra          map[string]string
	SeverityNumber uint32
	SeverityText   string
	RequestID      string
	ConnectionID   uint64
	BrokerInstance string
}

func (m *LifecycleEvent) fields(c *codec) {
	c.uint64(1, &m.TSMS)
	c.uint32(2, &m.PID)
	c.text(3, &m.ServiceName)
	enum(c, 4, &m.Kind)
	c.text(5, &m.Reason)
	c.pairs(6, &m.Extra)
	c.uint32(7, &m.SeverityNumber)
	c.text(8, &m.SeverityText)
	c.text(9, &m.RequestID)
	c.uint64(10, &m.ConnectionID)
	c.text(11, &m.BrokerInstance)
}

// Append appends the message.
func (m LifecycleEvent) Append(b []byte) []byte {
	c := writer(b)
	m.fields(&c)
	return c.out
}

// ParseLifecycleEvent reads a LifecycleEvent.
func ParseLifecycleEvent(b []byte) (LifecycleEvent, error) {
	var m LifecycleEvent
	c := reader(b)
	for c.next() {
		m.fields(&c)
	}
	return m, c.result("LifecycleEvent")
}

// EventKind is what happened.
type EventKind uint32

// The kinds of section 4.4.
const (
	EventUnspecified EventKind = iota
	EventSpawnAttempt
	EventSpawn
	EventDiedIdle
	EventDiedShutdown
	EventDiedCrash
	EventVersionMismatch
	EventReplacedByNewer
	EventHelloAccepted
	EventHelloRefused
	EventServiceDefLoaded
	EventServiceDefChanged
	EventBroadcastSent
	EventBroadcastAck
	EventBroadcastTimeout
	EventProtocolDowngrade
	EventCacheCorruptionDetected
	EventResourcePressure
	EventSecurityViolation
	EventTeardownHookFailed
	EventManifestRewritten
)

var eventNames = [...]string{
	"UNSPECIFIED", "SPAWN_ATTEMPT", "SPAWN", "DIED_IDLE", "DIED_SHUTDOWN", "DIED_CRASH", "VERSION_MISMATCH",
	"REPLACED_BY_NEWER", "HELLO_ACCEPTED", "HELLO_REFUSED", "SERVICE_DEF_LOADED", "SERVICE_DEF_CHANGED",
	"BROADCAST_SENT", "BROADCAST_ACK", "BROADCAST_TIMEOUT", "PROTOCOL_DOWNGRADE", "CACHE_CORRUPTION_DETECTED",
	"RESOURCE_PRESSURE", "SECURITY_VIOLATION", "TEARDOWN_HOOK_FAILED", "MANIFEST_REWRITTEN",
}

// String returns "SPAWN_ATTEMPT" and so on, or "" for a number without a name.
func (k EventKind) String() string {
	if int(k) < len(eventNames) {
		return eventNames[k]
	}
	return ""
}
