// SPDX-License-Identifier: Apache-2.0

package admin

const (
	bundleFormat = "tar.gz"
	bundleMode   = "metadata-only" // nothing is ever created
)

var redactions = []string{"home", "secret-env", "acl-identities"}

type diagnoseBody struct {
	head
	Output     string      `json:"output"`
	Bundle     bundle      `json:"bundle"`
	Files      []string    `json:"files"`
	Redactions []string    `json:"redactions"`
	Policy     []redaction `json:"redaction_policy"`
}

type bundle struct {
	Format  string  `json:"format"`
	Mode    string  `json:"mode"`
	Created bool    `json:"created"`
	Entries []entry `json:"entries"`
}

// entry is a file that a bundle would have.
type entry struct {
	Path     string `json:"path"`
	Kind     string `json:"kind"`
	Source   string `json:"source"`
	Required bool   `json:"required"`
	Redacted bool   `json:"redacted"`
	Records  *int   `json:"record_count,omitempty"`
}

type redaction struct {
	Name        string   `json:"name"`
	Replacement string   `json:"replacement,omitempty"`
	Matches     []string `json:"matches,omitempty"`
}

func diagnose(s Snapshot, output string) diagnoseBody {
	backends := len(s.Backends)
	entries := []entry{
		{"admin/status.json", "json", "status", true, false, nil},
		{"admin/dump.json", "json", "dump", true, true, nil},
		{"config/effective.json", "json", "effective-config", true, false, nil},
		{"metrics/openmetrics.txt", "openmetrics", "metrics", true, false, nil},
		{"events/lifecycle.jsonl", "jsonl", "lifecycle-events", false, true, nil},
		{"manifest/backend-manifests.json", "json", "backend-manifest-index", false, true, nil},
		{"process/backends.json", "json", "backend-table", true, true, &backends},
		{"system/summary.json", "json", "host-summary", false, true, nil},
	}
	files := make([]string, len(entries))
	for i, e := range entries {
		files[i] = e.Path
	}
	return diagnoseBody{
		head: headOf("diagnose", s), Output: output, Bundle: bundle{bundleFormat, bundleMode, false, entries},
		Files: files, Redactions: redactions,
		Policy: []redaction{
			{Name: "home", Replacement: "~"},
			{Name: "secret-env", Matches: []string{"KEY", "TOKEN", "SECRET", "PASS"}},
			{Name: "acl-identities", Replacement: "stable-hash"},
		},
	}
}
