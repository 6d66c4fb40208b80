// SPDX-License-Identifier: Apache-2.0

// Package admin answers the admin verbs of the running-process broker v1 (section 7 of the protocol): Reply builds an
// answer from a Snapshot, and Store counts what METRICS tells. It opens, reads and writes nothing.
package admin

import "github.com/switchboard-ipc/switchboard/protocol/envelope"

const defaultBundle = "bundle.tar.gz" // what DIAGNOSE would write

// Reply answers one request. Only STATUS looks at the request's JSON flag; verbs that do not exist are answered with
// exit code 2. DIAGNOSE says what a bundle would hold and writes none, as the original: a client must not have
// files written by somebody else. Carrying out SHUTDOWN is the caller's.
func Reply(req envelope.AdminRequest, s Snapshot) envelope.AdminReply {
	switch req.Verb {
	case envelope.VerbStatus:
		if req.JSON {
			return jsonReply(status(s))
		}
		return envelope.AdminStatus(s.Instance, s.Accepting)
	case envelope.VerbDump:
		return jsonReply(dump(s))
	case envelope.VerbListInstances:
		return jsonReply(listInstances(s))
	case envelope.VerbHealthz:
		return envelope.AdminHealthy
	case envelope.VerbReadyz:
		if !s.Ready {
			return envelope.AdminNotReady
		}
		return envelope.AdminReady
	case envelope.VerbBackendHealth:
		return jsonReply(backendHealth(s, or(req.ServiceName, Unknown)))
	case envelope.VerbConfig:
		return jsonReply(config(s))
	case envelope.VerbDiagnose:
		return jsonReply(diagnose(s, or(req.OutputPath, defaultBundle)))
	case envelope.VerbMetrics:
		return envelope.AdminOpenMetrics.Reply(OpenMetrics(s), 0)
	case envelope.VerbShutdown:
		return envelope.AdminShuttingDown
	}
	return envelope.AdminUnsupported
}

func jsonReply(body any) envelope.AdminReply { return envelope.AdminJSON.Reply(encode(body), 0) }

// or returns s, or what stands for an empty one.
func or(s, instead string) string {
	if s == "" {
		return instead
	}
	return s
}
