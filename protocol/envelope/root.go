// SPDX-License-Identifier: Apache-2.0

package envelope

// CacheRoot is a folder of a service's (section 4.4).
type CacheRoot struct {
	Path               string
	Kind               RootKind
	EstimatedSizeBytes uint64
	Disposition        Disposition
	Labels             map[string]string
	Quota              *Quota
	TeardownHook       *TeardownHook
	ExcludeGlobs       []string
	PlatformPaths      map[string]string
	Ownership          *Ownership
	Endpoint           *Endpoint
}

func (m *CacheRoot) fields(c *codec) {
	c.text(1, &m.Path)
	enum(c, 2, &m.Kind)
	c.uint64(3, &m.EstimatedSizeBytes)
	enum(c, 4, &m.Disposition)
	c.pairs(5, &m.Labels)
	for n := enter(c, 6, &m.Quota); n.more(c); {
		m.Quota.fields(c)
	}
	for n := enter(c, 7, &m.TeardownHook); n.more(c); {
		m.TeardownHook.fields(c)
	}
	c.texts(8, &m.ExcludeGlobs)
	c.pairs(9, &m.PlatformPaths)
	for n := enter(c, 10, &m.Ownership); n.more(c); {
		m.Ownership.fields(c)
	}
	for n := enter(c, 11, &m.Endpoint); n.more(c); {
		m.Endpoint.fields(c)
	}
}

// RootKind is what a CacheRoot is for.
type RootKind uint32

// The kinds of section 4.4.
const (
	RootUnspecified RootKind = 0
	RootData        RootKind = 1
	RootLogs        RootKind = 2
	RootLocks       RootKind = 3
	RootRuntime     RootKind = 4
	RootTmp         RootKind = 5
	RootConfig      RootKind = 6
	RootIndex       RootKind = 7
	RootJournal     RootKind = 8
	RootSecrets     RootKind = 9
)

// Disposition says when a CacheRoot may be removed.
type Disposition uint32

// The dispositions of section 4.4.
const (
	PruneOnUninstall        Disposition = 0
	PreserveAcrossUninstall Disposition = 1
	PruneWhenDormant        Disposition = 2
	NeverPrune              Disposition = 3
	PruneOnCrash            Disposition = 4
)

// Quota limits a CacheRoot, in bytes.
type Quota struct{ HardMax, SoftTarget, Reserved uint64 }

func (m *Quota) fields(c *codec) {
	c.uint64(1, &m.HardMax)
	c.uint64(2, &m.SoftTarget)
	c.uint64(3, &m.Reserved)
}

// TeardownHook runs before a CacheRoot is removed.
type TeardownHook struct {
	Kind        HookKind
	Argv        []string // of HookCustomCommand
	TimeoutSecs uint64
}

func (m *TeardownHook) fields(c *codec) {
	enum(c, 1, &m.Kind)
	c.texts(2, &m.Argv)
	c.uint64(3, &m.TimeoutSecs)
}

// HookKind is the kind of a TeardownHook.
type HookKind uint32

// The kinds of section 4.4.
const (
	HookNone          HookKind = 0
	HookRedbCompact   HookKind = 1
	HookSQLiteVacuum  HookKind = 2
	HookCustomCommand HookKind = 3
)

// Ownership of a CacheRoot.
type Ownership struct {
	UID, GID, Mode uint32
	WindowsSID     string
}

func (m *Ownership) fields(c *codec) {
	c.uint32(1, &m.UID)
	c.uint32(2, &m.GID)
	c.uint32(3, &m.Mode)
	c.text(4, &m.WindowsSID)
}

// Endpoint is an address, and the namespace in which it is valid.
type Endpoint struct {
	NamespaceID string // see InstanceID
	Path        string
}

func (m *Endpoint) fields(c *codec) {
	c.text(1, &m.NamespaceID)
	c.text(2, &m.Path)
}

// DaemonProcess is the identity of a backend (section 9).
type DaemonProcess struct {
	PID              uint32
	ExePath          string
	IPCEndpoint      *Endpoint
	StartedAtUnixMS  uint64
	BootID           string
	IdleTimeoutSecs  *uint32
	ExeHashAlgorithm string // HashAlgorithm
	ExeHash          []byte // 32 bytes
}

func (m *DaemonProcess) fields(c *codec) {
	c.uint32(1, &m.PID)
	c.text(2, &m.ExePath)
	for n := enter(c, 4, &m.IPCEndpoint); n.more(c); {
		m.IPCEndpoint.fields(c)
	}
	c.uint64(5, &m.StartedAtUnixMS)
	c.text(6, &m.BootID)
	c.optional(7, &m.IdleTimeoutSecs)
	c.text(8, &m.ExeHashAlgorithm)
	c.bytes(9, &m.ExeHash)
}

// Append appends the message.
func (m DaemonProcess) Append(b []byte) []byte {
	c := writer(b)
	m.fields(&c)
	return c.out
}

// ParseDaemonProcess reads a DaemonProcess.
func ParseDaemonProcess(b []byte) (DaemonProcess, error) {
	var m DaemonProcess
	c := reader(b)
	for c.next() {
		m.fields(&c)
	}
	return m, c.result("DaemonProcess")
}
