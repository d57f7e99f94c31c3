package config

import (
	"fmt"
	"log/slog"
	"slices"
	"strings"
)

const reasonKerberos = "this server knows DIGEST-MD5 of SASL, not Kerberos"

// authKeys and tlsKeys are the tables on authentication and TLS of spec/operations.md 1.8.
func authKeys() []*Key {
	t := []*Key{
		prop("DigestAuthenticationProvider.superDigest", "", KindString, "", func(c *Config) any { return &c.Auth.SuperDigest }),
		prop("DigestAuthenticationProvider.digestAlg", "SHA1", KindString, "", func(c *Config) any { return &c.Auth.DigestAlgorithm }).checked(checkDigestAlg),
		prop("DigestAuthenticationProvider.enabled", "true", KindBool, "", func(c *Config) any { return &c.Auth.DigestEnabled }),
		prop("X509AuthenticationProvider.superUser", "", KindString, "", func(c *Config) any { return &c.Auth.X509SuperUser }),
		prop("superUser", "", KindString, "", nil).checked(checkSuperUser),
		prop("superUser.*", "", KindString, "", nil).checked(checkSuperUser),
		prop("SASLAuthenticationProvider.superPassword", "", KindString, "", func(c *Config) any { return &c.Auth.SaslSuperPassword }),
		prop("IPAuthenticationProvider.usexforwardedfor", "false", KindBool, "", func(c *Config) any { return &c.Auth.IPUseXForwardedFor }),
		prop("authProvider.*", "", KindString, "", nil).checked(checkAuthProvider),
		prop("ssl.authProvider", "x509", KindString, "", func(c *Config) any { return &c.Auth.SSLProvider }),
		prop("enforce.auth.enabled", "false", KindBool, "", func(c *Config) any { return &c.Auth.EnforceEnabled }),
		prop("enforce.auth.schemes", "", KindList, "", func(c *Config) any { return &c.Auth.EnforceSchemes }),
		prop("sessionRequireClientSASLAuth", "false", KindBool, "", func(c *Config) any { return &c.Auth.SessionRequireSasl }),
		prop("allowSaslFailedClients", "false", KindBool, "", func(c *Config) any { return &c.Auth.AllowSaslFailed }),
		prop("requireKerberosConfig", "false", KindBool, "", func(c *Config) any { return &c.Auth.RequireKerberos }).kept(reasonKerberos),
		prop("security.auth_to_local", "DEFAULT", KindString, "", func(c *Config) any { return &c.Auth.KerberosAuthToLocal }).kept(reasonKerberos),
		prop("kerberos.removeHostFromPrincipal", "false", KindBool, "", func(c *Config) any { return &c.SASL.RemoveHostFromPrincipal }).kept(reasonKerberos),
		prop("kerberos.removeRealmFromPrincipal", "false", KindBool, "", func(c *Config) any { return &c.SASL.RemoveRealmFromPrincipal }).kept(reasonKerberos),
		prop("letAnySaslUserDoX", "", KindString, "", func(c *Config) any { return &c.Auth.AnySASLUser }),
		prop("sasl.serverconfig", "Server", KindString, "", func(c *Config) any { return &c.SASL.ServerContext }),
		bareProp("java.security.auth.login.config", "", KindPath, "", func(c *Config) any { return &c.SASL.JAASFile }),
		prop("ensembleAuthName", "", KindList, "", func(c *Config) any { return &c.Auth.EnsembleNames }),
		prop("audit.enable", "false", KindBool, "", func(c *Config) any { return &c.Auth.AuditEnabled }),
		prop("audit.impl.class", "", KindString, "", nil).without(reasonPlug).checked(checkAuditClass),
		prop("fips-mode", "true", KindBool, "", func(c *Config) any { return &c.Auth.FIPSMode }).without("TLS is that of Go, which knows no trust managers to choose from"),
	}
	return append(t, noEffect("Kerberos tickets are not renewed by this server", KindString,
		"kerberos.minReLoginTimeMs=60000", "kinit=/usr/bin/kinit")...)
}

func checkDigestAlg(b *builder, _ *Key, s Setting) *Error {
	switch strings.ToUpper(strings.ReplaceAll(s.Value, "-", "")) {
	case "SHA1", "SHA", "SHA256", "SHA384", "SHA512", "SHA512/224", "SHA512/256", "SHA224", "MD5":
		return nil
	}
	return b.refuse(s, s.Value+" MessageDigest not available", "write SHA1, SHA-256, SHA-384 or SHA-512")
}

func checkSuperUser(b *builder, _ *Key, s Setting) *Error {
	b.cfg.Auth.SuperUsers = append(b.cfg.Auth.SuperUsers, s.Value)
	return nil
}

// authProviderClasses are the Java classes this server has an equivalent of.
var authProviderClasses = []string{
	"org.apache.zookeeper.server.auth.IPAuthenticationProvider",
	"org.apache.zookeeper.server.auth.DigestAuthenticationProvider",
	"org.apache.zookeeper.server.auth.SASLAuthenticationProvider",
	"org.apache.zookeeper.server.auth.X509AuthenticationProvider",
	"org.apache.zookeeper.server.auth.EnsembleAuthenticationProvider",
}

// checkAuthProvider logs an ERROR for an unknown class and goes on without it, so that a client of that
// scheme is refused rather than let in.
func checkAuthProvider(b *builder, _ *Key, s Setting) *Error {
	if !slices.Contains(authProviderClasses, s.Value) {
		b.warn(slog.LevelError, s.Key, fmt.Sprintf("Problems loading %s: this server loads no Java class; the scheme of %s is not available", s.Value, s.Key))
		return nil
	}
	b.cfg.Auth.Providers[strings.TrimPrefix(s.Key, "authProvider.")] = s.Value
	return nil
}

// checkAuditClass: with auditing on, a Java server of which the class is wrong is left half dead; this one
// does not start.
func checkAuditClass(b *builder, _ *Key, s Setting) *Error {
	switch s.Value {
	case "org.apache.zookeeper.audit.Log4jAuditLogger", "org.apache.zookeeper.audit.Slf4jAuditLogger":
		return nil
	}
	b.late = append(b.late, func() *Error {
		if !b.cfg.Auth.AuditEnabled {
			return nil
		}
		err := b.refuse(s, "Couldn't instantiate "+s.Value, "drop the key, audit records go to the log")
		err.ExitCode = ExitUnexpected
		return err
	})
	return nil
}

func tlsKeys() []*Key {
	var t []*Key
	sides := []struct {
		prefix     string
		clientHost string
		reverse    string
		of         func(*Config) *TLSSide
	}{
		{"ssl.", "false", "false", func(c *Config) *TLSSide { return &c.TLS.Client }},
		{"ssl.quorum.", "true", "true", func(c *Config) *TLSSide { return &c.TLS.Quorum }},
	}
	for _, side := range sides {
		p, of := side.prefix, side.of
		t = append(t,
			prop(p+"keyStore.location", "", KindPath, "", func(c *Config) any { return &of(c).KeyStore.Location }),
			prop(p+"keyStore.password", "", KindString, "", func(c *Config) any { return &of(c).KeyStore.Password }),
			prop(p+"keyStore.passwordPath", "", KindPath, "", func(c *Config) any { return &of(c).KeyStore.PasswordPath }),
			prop(p+"keyStore.type", "", KindString, "", func(c *Config) any { return &of(c).KeyStore.Type }).checked(checkStoreType),
			prop(p+"trustStore.location", "", KindPath, "", func(c *Config) any { return &of(c).TrustStore.Location }),
			prop(p+"trustStore.password", "", KindString, "", func(c *Config) any { return &of(c).TrustStore.Password }),
			prop(p+"trustStore.passwordPath", "", KindPath, "", func(c *Config) any { return &of(c).TrustStore.PasswordPath }),
			prop(p+"trustStore.type", "", KindString, "", func(c *Config) any { return &of(c).TrustStore.Type }).checked(checkStoreType),
			prop(p+"protocol", "TLSv1.3", KindString, "", func(c *Config) any { return &of(c).Protocol }),
			prop(p+"enabledProtocols", "", KindList, "", func(c *Config) any { return &of(c).EnabledProtocols }),
			prop(p+"ciphersuites", "", KindList, "", func(c *Config) any { return &of(c).CipherSuites }),
			prop(p+"clientAuth", "need", KindString, "", func(c *Config) any { return &of(c).ClientAuth }).checked(checkClientAuth),
			prop(p+"hostnameVerification", "true", KindBool, "", func(c *Config) any { return &of(c).HostnameVerification }),
			prop(p+"clientHostnameVerification", side.clientHost, KindBool, "", func(c *Config) any { return &of(c).ClientHostnameVerification }),
			prop(p+"allowReverseDnsLookup", side.reverse, KindBool, "", func(c *Config) any { return &of(c).AllowReverseDNSLookup }),
			prop(p+"handshakeDetectionTimeoutMillis", "5000", KindDuration, "ms", func(c *Config) any { return &of(c).HandshakeDetectionTimeout }).
				without("a connection has ten seconds for its first byte and for its handshake"),
		)
		t = append(t, noEffect("revocation is not checked by this server", KindBool, p+"crl", p+"ocsp")...)
		t = append(t, noEffect(reasonPlug, KindString, p+"context.supplier.class", p+"sslProvider")...)
	}
	return t
}

func checkStoreType(b *builder, _ *Key, s Setting) *Error {
	switch strings.ToUpper(s.Value) {
	case "", "JKS", "PEM", "PKCS12", "BCFKS":
		return nil
	}
	return b.refuse(s, "Invalid store type: "+s.Value, "write PEM, PKCS12 or JKS, or drop the key to go by the file's extension")
}

func checkClientAuth(b *builder, k *Key, s Setting) *Error {
	v := strings.ToLower(s.Value)
	switch v {
	case "need", "want", "none":
		*k.target(b.cfg).(*string) = v
		return nil
	}
	return b.refuse(s, "Invalid client auth: "+s.Value, "write need, want or none")
}
