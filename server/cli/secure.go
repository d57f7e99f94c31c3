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
	"zabra.dev/zabra/server/sasl"
)

// Properties of Java's client that the shell understands; all others are named in a warning.
const (
	propSecure     = "zookeeper.client.secure"
	propKeyStore   = "zookeeper.ssl.keyStore.location"
	propTrustStore = "zookeeper.ssl.trustStore.location"
	propHostname   = "zookeeper.ssl.hostnameVerification"
	// propSocket names Java's network layer; TLS needs the Netty one there, nothing here.
	propSocket       = "zookeeper.clientCnxnSocket"
	propJAAS         = "java.security.auth.login.config"
	propLogin        = "zookeeper.sasl.client"
	propLoginSection = "zookeeper.sasl.clientconfig"
)

// flagVariables are the environment variables that the original's script hands to Java; TLS
// and logins are often configured there, by -Dname=value.
var flagVariables = []string{"CLIENT_JVMFLAGS", "JVMFLAGS"}

// secure sets up TLS and the login from -client-configuration and from the flag variables. It fails rather
// than connect in the clear, or without a name, when it is asked for more and cannot have it.
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
			case propSecure, propKeyStore, propTrustStore, propHostname, propSocket, propJAAS, propLogin, propLoginSection:
			default:
				unused = append(unused, kv.Key)
			}
		}
		if len(unused) > 0 {
			fmt.Fprintf(stderr, "Warning: %s: not used here: %s\n", o.clientConfig, strings.Join(unused, ", "))
		}
	}
	if err := o.readLogin(props); err != nil {
		return fmt.Errorf("%s=%s: %w", propJAAS, props[propJAAS], err)
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

// readLogin takes user and password out of the JAAS file; without one, or without its section, nobody logs in.
func (o *options) readLogin(props map[string]string) error {
	if strings.EqualFold(props[propLogin], "false") {
		return nil
	}
	section := props[propLoginSection]
	if section == "" {
		section = "Client"
	}
	list, err := sasl.ReadFile(props[propJAAS])
	if err != nil {
		return err
	}
	user, password, ok, err := sasl.LoginOf(list, section)
	if ok {
		o.login = &client.Login{User: user, Password: password}
	}
	return err
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
