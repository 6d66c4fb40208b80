// SPDX-License-Identifier: Apache-2.0

package envelope

// CacheManifest tells what a service keeps on disk (sections 4.4 and 12). See
// Seal and CheckManifest for its hash.
type CacheManifest struct {
	ServiceName           string
	ServiceVersion        string
	BrokerEnvelopeVersion string // "v1"
	CreatedAtUnixMS       uint64
	LastActiveUnixMS      uint64
	Roots                 []CacheRoot
	CurrentDaemon         *DaemonProcess
	CleanupPolicy         *CleanupPolicy
	BrokerInstance        string
	DependsOn             []ManifestRef
	Provides              []string
	Observability         *ObservabilityInfo
	BundleID              string
	ManifestSchemaVersion uint32 // ManifestSchema
	MediaType             string // ManifestMediaType
	SelfSHA256            []byte // 32 bytes
	Host                  *HostIdentity
	CurrentOperation      *Operation
	ValidUntilUnixMS      uint64
}

func (m *CacheManifest) fields(c *codec) {
	c.text(1, &m.ServiceName)
	c.text(2, &m.ServiceVersion)
	c.text(3, &m.BrokerEnvelopeVersion)
	c.uint64(4, &m.CreatedAtUnixMS)
	c.uint64(5, &m.LastActiveUnixMS)
	repeated(c, 10, &m.Roots, (*CacheRoot).fields)
	for n := enter(c, 20, &m.CurrentDaemon); n.more(c); {
		m.CurrentDaemon.fields(c)
	}
	for n := enter(c, 30, &m.CleanupPolicy); n.more(c); {
		m.CleanupPolicy.fields(c)
	}
	c.text(40, &m.BrokerInstance)
	repeated(c, 50, &m.DependsOn, (*ManifestRef).fields)
	c.texts(51, &m.Provides)
	for n := enter(c, 60, &m.Observability); n.more(c); {
		m.Observability.fields(c)
	}
	c.text(70, &m.BundleID)
	c.uint32(100, &m.ManifestSchemaVersion)
	c.text(101, &m.MediaType)
	c.bytes(fieldSelfSHA256, &m.SelfSHA256)
	for n := enter(c, 103, &m.Host); n.more(c); {
		m.Host.fields(c)
	}
	for n := enter(c, 104, &m.CurrentOperation); n.more(c); {
		m.CurrentOperation.fields(c)
	}
	c.uint64(105, &m.ValidUntilUnixMS)
}

// Append appends the message.
func (m CacheManifest) Append(b []byte) []byte {
	c := writer(b)
	m.fields(&c)
	return c.out
}

// ParseCacheManifest reads a CacheManifest without a look at its hash. What it
// allocates may be a hundred times b, for many roots that are empty: limit
// what is read of a file (MaxManifest).
func ParseCacheManifest(b []byte) (CacheManifest, error) {
	var m CacheManifest
	c := reader(b)
	for c.next() {
		m.fields(&c)
	}
	return m, c.result("CacheManifest")
}

// CleanupPolicy says when a version's files may go.
type CleanupPolicy struct {
	DormantAfterSecs     uint64 // usually 30 days
	KeepLastNVersions    uint32 // usually 2
	KeepCurrent          bool
	MinSizeForPruneBytes uint64
}

func (m *CleanupPolicy) fields(c *codec) {
	c.uint64(1, &m.DormantAfterSecs)
	c.uint32(2, &m.KeepLastNVersions)
	c.bool(3, &m.KeepCurrent)
	c.uint64(4, &m.MinSizeForPruneBytes)
}

// ManifestRef names another service's manifest.
type ManifestRef struct {
	ServiceName string
	MinVersion  string
	Optional    bool
}

func (m *ManifestRef) fields(c *codec) {
	c.text(1, &m.ServiceName)
	c.text(2, &m.MinVersion)
	c.bool(3, &m.Optional)
}

// ObservabilityInfo says where a service can be watched.
type ObservabilityInfo struct {
	MetricsEndpoint     string
	LogPath             string
	HealthCheckEndpoint string
}

func (m *ObservabilityInfo) fields(c *codec) {
	c.text(1, &m.MetricsEndpoint)
	c.text(2, &m.LogPath)
	c.text(3, &m.HealthCheckEndpoint)
}

// HostIdentity is where a manifest was written; what is empty fits any.
type HostIdentity struct {
	Hostname    string
	MachineID   string
	BootID      string
	FSDevID     uint64
	NamespaceID string
}

func (m *HostIdentity) fields(c *codec) {
	c.text(1, &m.Hostname)
	c.text(2, &m.MachineID)
	c.text(3, &m.BootID)
	c.uint64(4, &m.FSDevID)
	c.text(5, &m.NamespaceID)
}

// Operation is what a service is doing with its files.
type Operation struct {
	Kind               OperationKind
	StartedAtUnixMS    uint64
	ExpectedDoneUnixMS uint64
}

func (m *Operation) fields(c *codec) {
	enum(c, 1, &m.Kind)
	c.uint64(2, &m.StartedAtUnixMS)
	c.uint64(3, &m.ExpectedDoneUnixMS)
}

// OperationKind is the kind of an Operation.
type OperationKind uint32

// The kinds of section 4.4.
const (
	OperationIdle            OperationKind = 0
	OperationCompacting      OperationKind = 1
	OperationMigrating       OperationKind = 2
	OperationRebuildingIndex OperationKind = 3
	OperationEvictingLRU     OperationKind = 4
	OperationArchiving       OperationKind = 5
)
