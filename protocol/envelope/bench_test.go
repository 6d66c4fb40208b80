// SPDX-License-Identifier: Apache-2.0

package envelope_test

import (
	"testing"

	"github.com/switchboard-ipc/switchboard/protocol/envelope"
)

var usual = envelope.Hello{
	ClientMinProtocol: 1, ClientMaxProtocol: 1, ServiceName: "zccache", WantedVersion: "1.11.20",
	ClientVersion: "zccache-cli/1.11.20", ClientCapabilities: 1, RequestID: "hello", PeerPID: 4242,
	ClientLibName: "running-process", ClientLibVersion: "4.10.6",
}

func BenchmarkParse(b *testing.B) {
	framed := frameOf(envelope.Frame{EnvelopeVersion: 1, RequestID: 1}, usual).AppendFramed(nil)
	b.ReportAllocs()
	for b.Loop() {
		n, err := envelope.Header(framed)
		if err != nil {
			b.Fatal(err)
		}
		f, err := envelope.ParseFrame(framed[envelope.HeaderSize : envelope.HeaderSize+n])
		if err != nil {
			b.Fatal(err)
		}
		h, refusal := envelope.ParseControl(f)
		if refusal != nil || envelope.CheckHello(h, 4242) != nil {
			b.Fatal(refusal)
		}
	}
}

func BenchmarkReply(b *testing.B) {
	f := envelope.Frame{EnvelopeVersion: 1, RequestID: 1}
	out := make([]byte, 0, 512)
	b.ReportAllocs()
	for b.Loop() {
		out = f.Answer(usual.Accept("/run/user/1000/running-process/broker/x.sock", 1, nil)).AppendFramed(out[:0])
	}
}

func BenchmarkHash16(b *testing.B) {
	for b.Loop() {
		envelope.Hash16("1000:0123456789abcdef0123456789abcdef")
	}
}
