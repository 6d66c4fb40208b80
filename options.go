// SPDX-License-Identifier: Apache-2.0

package switchboard

// DialOption narrows a call of [Client.Dial].
type DialOption interface{ applyDial(*dialOptions) }

// LookUpOption narrows a question of [Client.LookUp].
type LookUpOption interface{ applyLookUp(*lookUpOptions) }

// ListenOption adds to a name of [Client.Listen].
type ListenOption interface{ applyListen(*listenOptions) }

// DialLookUpOption is an option for calls and for questions.
type DialLookUpOption interface {
	DialOption
	LookUpOption
}

type dialOptions struct{ version, scope string }

type lookUpOptions struct {
	version string
	kind    Kind
}

type versionConstraint string

func (v versionConstraint) applyDial(o *dialOptions)     { o.version = string(v) }
func (v versionConstraint) applyLookUp(o *lookUpOptions) { o.version = string(v) }

// WithVersion asks for a service whose version satisfies a constraint: "1.2.3", "^1.2", "~1.2", ">=1.2,<2" (without spaces).
func WithVersion(constraint string) DialLookUpOption { return versionConstraint(constraint) }

type dialScope string

func (s dialScope) applyDial(o *dialOptions) { o.scope = string(s) }

// WithScope asks for a service that serves this folder or all; the path is absolute.
func WithScope(dir string) DialOption { return dialScope(dir) }

type lookUpKind Kind

func (k lookUpKind) applyLookUp(o *lookUpOptions) { o.kind = Kind(k) }

// OfKind asks for a name of one kind; a name of another kind is answered with an error that tells it.
func OfKind(k Kind) LookUpOption { return lookUpKind(k) }
