// SPDX-License-Identifier: Apache-2.0

package vectortest

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"testing"
)

// Vectors returns the vectors of a format, such as "mach-bootstrap-vectors/1", as T ([Values], for one), from all of [Files]. One that
// is in two folders comes once. Files about something else are left out; one about this in another format fails the test.
func Vectors[T any](t testing.TB, folder, format string) (all []T) {
	t.Helper()
	seen := make(map[string]bool)
	for _, file := range Files(t, folder) {
		for _, v := range read[T](t, file, format) {
			if same := fmt.Sprint(v); !seen[same] {
				seen[same] = true
				all = append(all, v)
			}
		}
	}
	return all
}

// read returns the vectors of a file, or none if it is about something else.
func read[T any](t testing.TB, file, format string) []T {
	t.Helper()
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var head struct {
		Format  any
		Subject string
	}
	if err := json.Unmarshal(b, &head); err != nil {
		t.Fatalf("%s: %v", file, err)
	}
	about, _, _ := strings.Cut(format, "-vectors/")
	has := fmt.Sprint(head.Format)
	if !strings.Contains(has+" "+head.Subject, about) {
		return nil
	}
	if has != format {
		t.Fatalf("%s has unknown format %s", file, has)
	}
	var body struct{ Vectors []T }
	d := json.NewDecoder(bytes.NewReader(b))
	d.UseNumber()
	if err := d.Decode(&body); err != nil {
		t.Fatalf("%s: %v", file, err)
	}
	if len(body.Vectors) == 0 {
		t.Fatalf("%s has no vectors", file)
	}
	return body.Vectors
}
