// SPDX-License-Identifier: Apache-2.0

// Package servedef reads the service definitions of the running-process broker
// v1 (its protocol, section 11): one protobuf message a file, in one folder of
// the user's, looked at anew whenever a client asks. [ToTOML] writes ours from
// them.
//
// What a definition may say is the rule of protocol/envelope; here is where it
// is looked for, and whose file it may be.
package servedef
