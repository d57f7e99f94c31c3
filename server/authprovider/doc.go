// Package authprovider holds the authentication schemes beyond ip and digest: those of a configuration's
// authProvider.N lines, which name Java's classes, and x509, which comes with TLS.
//
// A provider is made once and never changes; any goroutine may use it. None does I/O.
// Source: client protocol, sections 8.3, 8.6 and 8.7.
package authprovider
