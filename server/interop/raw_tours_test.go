//go:build interop

package interop

// The super digest of super:secret.
const superDigest = "super:lK75jTNcA+U9vtVEw5vB51mj/w4="

func init() {
	register(
		rawTour("raw", nil, nil,
			section{"fresh", freshTree},
			section{"write", writes},
			section{"sequence", sequences},
			section{"path", paths},
			section{"body", badBodies},
			section{"unknown", unknownOps},
			section{"multi", multis},
			section{"multiRead", multiReads},
			section{"order", order},
			section{"createSession", createSession},
		),
		rawTour("raw-watch", nil, nil,
			section{"watch", watches},
			section{"remove", removals},
			section{"setWatches", rewatches},
		),
		rawTour("raw-session", nil, nil,
			section{"handshake", handshakes},
			section{"frame", frames},
			section{"session", sessions},
		),
		rawTour("raw-auth", nil, nil,
			section{"auth", auths},
			section{"acl", acls},
			section{"perm", permissions},
		),
		rawTour("raw-quota", nil, nil, section{"quota", quotas}),
		rawTour("raw-quota-enforced", map[string]string{"enforceQuota": "true"}, nil, section{"quota", quotas}),
		rawTour("raw-super", map[string]string{"DigestAuthenticationProvider.superDigest": superDigest, "reconfigEnabled": "true"}, nil,
			section{"super", super}),
		rawTour("raw-skipACL", map[string]string{"skipACL": "yes", "reconfigEnabled": "true"}, nil,
			section{"skipACL", skipACL},
			section{"unknown", unknownOps}),
		rawTour("raw-no-extended", map[string]string{"extendedTypesEnabled": "-"}, nil,
			section{"write", writes},
			section{"multi", multis}),
		rawTour("raw-expiry", map[string]string{"tickTime": "200"}, nil, section{"expiry", expiry}),
		rawTour("raw-limits", map[string]string{"maxClientCnxns": "3"}, nil, section{"limit", perClientLimit}),
		rawTour("raw-idle", map[string]string{"nio.sessionlessCnxnTimeout": "500"}, nil, section{"idle", neverUsed}),
		rawTour("raw-maxbuffer", nil, []string{"-Djute.maxbuffer=5000"}, section{"small", smallFrames}),
		rawTour("raw-enforced-auth", map[string]string{"enforce.auth.enabled": "true", "enforce.auth.schemes": "digest"}, nil,
			section{"enforced", enforced}),
		rawTour("raw-eager-acl", map[string]string{"enableEagerACLCheck": "true"}, nil, section{"eager", eager}),
		rawTour("raw-digest-alg", map[string]string{"DigestAuthenticationProvider.digestAlg": "SHA-256"}, nil,
			section{"digestAlg", digestAlg}),
		rawTour("raw-no-digest", map[string]string{"DigestAuthenticationProvider.enabled": "false"}, nil,
			section{"auth", auths}),
	)
}
