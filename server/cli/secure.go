package cli

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"zabra.dev/zabra/server/client"
	"zabra.dev/zabra/server/config"
)

// Properties of Java's client that the shell understands; all others are named in a warning.
const (
	propSecure     = "zookeeper.client.secure"
	propKeyStore   = "zookeeper.ssl.keyStore.location"
	propTrustStore = "zookeeper.ssl.trustStore.location"
	propHostname   = "zookeeper.ssl.hostnameVerification"
	// propSocket names Java's network layer; TLS needs the Netty one there, nothing here.
	propSocket = "zookeeper.clientCnxnSocket"
)

// flagVariables are the environment variables that the original's script hands to Java; TLS
// is often configured there, by -Dname=value.
var flagVariables = []string{"CLIENT_JVMFLAGS", "JVMFLAGS"}

// secure sets up TLS from -client-configuration and from the flag variables. It fails rather
// than connect in the clear when TLS is asked for and cannot be had.
func (o *options) secure(stderr io.Writer) error {
	props := map[string]string{}
	for _, name := range flagVariables {
		for _, word := range strings.Fields(os.Getenv(name)) {
			if def, ok := strings.CutPrefix(word, "-D"); ok {
				key, value, _ := strings.Cut(def, "=")
				props[key] = value
			}
		}
	}
	if o.clientConfig != "" {
		text, err := os.ReadFile(o.clientConfig)
		if err != nil {
			return fmt.Errorf("client configuration: %w", err)
		}
		p, err := config.ParseProperties(text)
		if err != nil {
			return fmt.Errorf("client configuration %s: %w", o.clientConfig, err)
		}
		var unused []string
		for _, kv := range p.Effective() {
			props[kv.Key] = kv.Value
			switch kv.Key {
			case propSecure, propKeyStore, propTrustStore, propHostname, propSocket:
			default:
				unused = append(unused, kv.Key)
			}
		}
		if len(unused) > 0 {
			fmt.Fprintf(stderr, "Warning: %s: not used here: %s\n", o.clientConfig, strings.Join(unused, ", "))
		}
	}
	if !strings.EqualFold(props[propSecure], "true") {
		return nil
	}
	cfg, err := tlsConfig(props[propKeyStore], props[propTrustStore], !strings.EqualFold(props[propHostname], "false"))
	if err != nil {
		return fmt.Errorf("%s=true: %w", propSecure, err)
	}
	o.dial = client.TLSDial(cfg)
	return nil
}

// tlsConfig reads PEM stores: the key store holds a private key and its chain, the trust
// store the authorities. Without a trust store the system's authorities count.
func tlsConfig(keyStore, trustStore string, checkHostname bool) (*tls.Config, error) {
	cfg := &tls.Config{MinVersion: tls.VersionTLS12}
	if keyStore != "" {
		pem, err := readPEM(keyStore)
		if err != nil {
			return nil, err
		}
		cert, err := tls.X509KeyPair(pem, pem)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", keyStore, err)
		}
		cfg.Certificates = []tls.Certificate{cert}
	}
	if trustStore != "" {
		pem, err := readPEM(trustStore)
		if err != nil {
			return nil, err
		}
		cfg.RootCAs = x509.NewCertPool()
		if !cfg.RootCAs.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("%s holds no certificate", trustStore)
		}
	}
	if !checkHostname {
		// The chain is still verified, only the name is not (Java's hostnameVerification=false).
		roots := cfg.RootCAs
		cfg.InsecureSkipVerify = true
		cfg.VerifyConnection = func(state tls.ConnectionState) error {
			opts := x509.VerifyOptions{Roots: roots, Intermediates: x509.NewCertPool()}
			for _, c := range state.PeerCertificates[1:] {
				opts.Intermediates.AddCert(c)
			}
			_, err := state.PeerCertificates[0].Verify(opts)
			return err
		}
	}
	return cfg, nil
}

// errNotPEM: Java's own formats cannot be read.
var errNotPEM = errors.New("only PEM stores can be read; convert it, e.g. with keytool -importkeystore -deststoretype pkcs12 and openssl pkcs12")

func readPEM(name string) ([]byte, error) {
	text, err := os.ReadFile(name)
	if err != nil {
		return nil, err
	}
	if !strings.Contains(string(text), "-----BEGIN ") {
		return nil, fmt.Errorf("%s: %w", name, errNotPEM)
	}
	return text, nil
}
