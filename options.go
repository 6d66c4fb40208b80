// SPDX-License-Identifier: Apache-2.0

package switchboard

// DialOption narrows a call of [Client.Dial].
type DialOption interface{ applyDial(*dialOptions) }

// LookUpOption narrows a question of [Client.LookUp].
type LookUpOption interface{ applyLookUp(*lookUpOptions) }

// ListenOption adds to a name of [Client.Listen].
type ListenOption interface{ applyListen(*listenOptions) }

// NarrowOption narrows calls, questions and selections alike.
type NarrowOption interface {
	DialOption
	LookUpOption
	SelectOption
}

type dialOptions struct {
	version, scope string
	launch         *launch
}

type lookUpOptions struct {
	version, scope string
	kind           Kind
}

type versionConstraint string

func (v versionConstraint) applyDial(o *dialOptions)     { o.version = string(v) }
func (v versionConstraint) applyLookUp(o *lookUpOptions) { o.version = string(v) }
func (v versionConstraint) applySelect(o *selectOptions) { o.version = string(v) }

// WithVersion asks for a service whose version satisfies a constraint: "1.2.3", "^1.2", "~1.2", ">=1.2,<2" (without spaces).
func WithVersion(constraint string) NarrowOption { return versionConstraint(constraint) }

type scopeFolder string

func (s scopeFolder) applyDial(o *dialOptions)     { o.scope = string(s) }
func (s scopeFolder) applyLookUp(o *lookUpOptions) { o.scope = string(s) }
func (s scopeFolder) applySelect(o *selectOptions) { o.scope = string(s) }

// WithScope asks for a service that serves this folder or all; the path is absolute. [ScopeOf] finds the folder of a project.
func WithScope(dir string) NarrowOption { return scopeFolder(dir) }

type lookUpKind Kind

func (k lookUpKind) applyLookUp(o *lookUpOptions) { o.kind = Kind(k) }

// OfKind asks for a name of one kind; a name of another kind is answered with an error that tells it.
func OfKind(k Kind) LookUpOption { return lookUpKind(k) }
