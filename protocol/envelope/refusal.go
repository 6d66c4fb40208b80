// SPDX-License-Identifier: Apache-2.0

package envelope

import "errors"

// Refusal is a reason not to grant a Hello (section 5).
type Refusal struct {
	Code         ErrorCode
	Reason       string
	RetryAfterMS uint64 // 0: trying again does not help
}

// Reply returns the reply that says so.
func (r Refusal) Reply() HelloReply {
	return HelloReply{Refused: &Refused{
		Reason: r.Reason, DaemonMinProtocol: Version, DaemonMaxProtocol: Version, Code: r.Code, RetryAfterMS: r.RetryAfterMS,
	}}
}

// The refusals of section 5 that are always the same, in the order of the
// checks: A1 to A7, B1 to B20, B22, C2, C4. They are not to be changed.
var (
	RefusedFraming         = Refusal{CodeVersionUnsupported, "unsupported framing version", 0}
	RefusedTooLong         = Refusal{CodePeerRejected, "initial Hello frame exceeds 64 KiB", 0}
	RefusedIncomplete      = Refusal{CodePeerRejected, "incomplete Hello frame", 0}
	RefusedMalformedFrame  = Refusal{CodePeerRejected, "malformed broker Frame", 0}
	RefusedFDPressure      = Refusal{CodeFDPressure, "broker is low on file descriptors; retry shortly", 1000}
	RefusedEnvelopeVersion = Refusal{CodeVersionUnsupported, "frame envelope_version is not v1", 0}
	RefusedKind            = Refusal{CodePeerRejected, "Hello frame kind must be REQUEST", 0}
	RefusedProtocol        = Refusal{CodePeerRejected, "Hello frame payload_protocol must be control-plane", 0}
	RefusedCompressed      = Refusal{CodePeerRejected, "Hello payload must not be compressed", 0}
	RefusedMalformedHello  = Refusal{CodePeerRejected, "malformed Hello payload", 0}
	RefusedProtocolRange   = Refusal{CodeVersionUnsupported, "client protocol range does not include v1", 0}
	RefusedServiceName     = Refusal{CodePeerRejected, "invalid service_name", 0}
	RefusedWantedVersion   = Refusal{CodePeerRejected, "invalid wanted_version", 0}
	RefusedClientVersion   = Refusal{CodePeerRejected, "client_version exceeds 128 bytes", 0}
	RefusedClientLib       = Refusal{CodePeerRejected, "client_lib fields exceed 64 bytes", 0}
	RefusedPeerPID         = Refusal{CodePeerRejected, "peer_pid does not match verified peer", 0}
	RefusedUnknownService  = Refusal{CodeServiceUnknown, "service definition was not found", 0}
	RefusedBelowFloor      = Refusal{CodeVersionBlocked, "wanted_version is below min_version", 30_000}
	RefusedNotAllowed      = Refusal{CodeVersionBlocked, "wanted_version is not in version_allow_list", 30_000}
	RefusedSpawning        = Refusal{CodeRateLimited, "backend spawn already in progress", 1000}
	RefusedNoLauncher      = Refusal{CodeBackendSpawnFailed, "backend is not registered", 1000}
	RefusedLaunched        = Refusal{CodeInternal, "launched backend identity did not match request", 0}
	RefusedTokenLength     = Refusal{CodePeerRejected, "session token malformed: wrong byte length", 0}
	RefusedTokenBroker     = Refusal{CodePeerRejected, "session invalidated: broker was restarted since this token was issued", 0}
	RefusedTokenUnknown    = Refusal{CodePeerRejected, "session invalidated: daemon is no longer registered", 0}
	RefusedTokenDaemon     = Refusal{CodePeerRejected, "session invalidated: daemon was restarted since this token was issued", 0}
	RefusedUnregistered    = Refusal{CodeServiceUnknown, "service is not registered", 0}
)

// RefusedDefinition refuses because of the definition (B13): detail is what
// CheckDefinition or ParseServiceDefinition say. See DefinitionRefusal.
func RefusedDefinition(detail string) Refusal {
	return Refusal{CodeServiceUnknown, "service definition could not be loaded: " + detail, 0}
}

// DefinitionRefusal returns the refusal for an error of CheckDefinition's: that
// of B13a for a *NameError, else that of B13.
func DefinitionRefusal(err error) Refusal {
	var name *NameError
	if errors.As(err, &name) {
		return RefusedServiceName
	}
	return RefusedDefinition(err.Error())
}

// RefusedIsolation refuses because of InstanceID's error (B16).
func RefusedIsolation(detail string) Refusal {
	return Refusal{CodeInternal, "service isolation could not be resolved: " + detail, 0}
}

// RefusedBudget refuses because the launches of a window are used up (B19); it
// ends in retryAfter milliseconds, at least 1.
func RefusedBudget(retryAfter uint64) Refusal {
	return Refusal{CodeRateLimited, "backend spawn budget exhausted", max(retryAfter, 1)}
}

// RefusedSpawn refuses because a launch failed (B21).
func RefusedSpawn(detail string) Refusal {
	return Refusal{CodeBackendSpawnFailed, "backend spawn failed: " + detail, 1000}
}

// RefusedInstall refuses because a backend could not be used (B23).
func RefusedInstall(detail string) Refusal {
	return Refusal{CodeInternal, "registered backend could not be installed: " + detail, 0}
}

// RefusedHelloRate refuses because a process asks too often (C3); its window
// ends in retryAfter milliseconds, at least 1.
func RefusedHelloRate(retryAfter uint64) Refusal {
	return Refusal{CodeRateLimited, "Hello rate limit exceeded", max(retryAfter, 1)}
}
