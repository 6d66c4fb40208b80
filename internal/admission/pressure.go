// SPDX-License-Identifier: Apache-2.0

package admission

// Numbers of the original's descriptor pressure (section 6).
const (
	PressureBackoff = 50 // milliseconds to wait after an accept that failed
	goodAccepts     = 3  // that end the pressure
)

// Pressure knows whether descriptors have run out. The zero value is ready, and
// knows of none.
type Pressure struct{ left int }

// Exhausted notes an accept that failed with EMFILE or ENFILE.
func (p *Pressure) Exhausted() { p.left = goodAccepts }

// Accepted notes an accept that succeeded; three in a row end the pressure.
func (p *Pressure) Accepted() { p.left = max(p.left-1, 0) }

// Demoted reports whether Hellos are to be refused.
func (p *Pressure) Demoted() bool { return p.left > 0 }
