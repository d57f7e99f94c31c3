#!/bin/sh
# Installs what the interop tours drive: the clients and the Java servers that Zabra is
# compared with. Where something cannot be had it goes on, and says at the end what is
# missing and which tours will not run for it; the tests print the same list.
#
#   usage: setup.sh            installs and reports; exit status 0 even with pieces missing
#          setup.sh --check    only reports; exit status 1 with pieces missing
#
# ZABRA_INTEROP_CACHE names the folder for what is fetched (default ~/.cache/zabra-interop).
set -u

cache=${ZABRA_INTEROP_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/zabra-interop}
jars=/usr/share/java
zk39=3.9.5

have_javac() { command -v javac >/dev/null 2>&1; }
have_java38() { [ -e "$jars/zookeeper.jar" ] && [ -e "$jars/zookeeper-jute.jar" ]; }
have_zkcli() { [ -e /usr/share/zookeeper/bin/zkCli.sh ]; }
have_curator() { [ -e "$jars/curator-recipes.jar" ] && [ -e "$jars/curator-framework.jar" ] && [ -e "$jars/curator-client.jar" ]; }
have_kazoo() { /usr/bin/python3 -c 'import kazoo' >/dev/null 2>&1; }
have_cclient() { [ -e /usr/include/zookeeper/zookeeper.h ] && command -v cc >/dev/null 2>&1; }
have_chromium() { command -v chromium >/dev/null 2>&1 || command -v chromium-browser >/dev/null 2>&1 || command -v google-chrome >/dev/null 2>&1; }
have_ip() { command -v ip >/dev/null 2>&1; }
have_ssh() { [ -x /usr/sbin/sshd ] && command -v ssh >/dev/null 2>&1 && command -v ssh-keygen >/dev/null 2>&1; }
have_java39() { [ -e "$cache/zookeeper-$zk39/.complete" ]; }

apt_install() {
	command -v apt-get >/dev/null 2>&1 && [ "$(id -u)" = 0 ] || return 0
	if have_javac && have_java38 && have_zkcli && have_curator && have_kazoo && have_cclient && have_chromium && have_ssh &&
		{ have_java39 || command -v mvn >/dev/null 2>&1; }; then
		return 0
	fi
	DEBIAN_FRONTEND=noninteractive
	export DEBIAN_FRONTEND
	apt-get update -q >&2 || echo "setup: apt-get update failed" >&2
	# One by one, so that a package that cannot be had does not take the others with it.
	for p in iproute2 default-jdk-headless zookeeper libzookeeper-java python3-kazoo gcc libc6-dev libzookeeper-mt-dev \
		libcurator-client-java libcurator-framework-java libcurator-recipes-java maven chromium openssh-client openssh-server; do
		dpkg -s "$p" >/dev/null 2>&1 || apt-get install -q -y --no-install-recommends "$p" >&2 ||
			echo "setup: cannot install $p" >&2
	done
}

# The server of the 3.9 line with what its pom declares as provided, into one folder.
fetch_java39() {
	have_java39 && return 0
	command -v mvn >/dev/null 2>&1 || return 0
	dir=$cache/zookeeper-$zk39
	rm -rf "$dir" && mkdir -p "$dir/lib" || return 0
	cat >"$dir/pom.xml" <<POM
<project xmlns="http://maven.apache.org/POM/4.0.0">
  <modelVersion>4.0.0</modelVersion>
  <groupId>zabra</groupId><artifactId>interop</artifactId><version>1</version>
  <dependencies>
    <dependency><groupId>org.apache.zookeeper</groupId><artifactId>zookeeper</artifactId><version>$zk39</version></dependency>
    <dependency><groupId>io.dropwizard.metrics</groupId><artifactId>metrics-core</artifactId><version>4.1.12.1</version></dependency>
    <dependency><groupId>org.xerial.snappy</groupId><artifactId>snappy-java</artifactId><version>1.1.10.5</version></dependency>
    <dependency><groupId>commons-cli</groupId><artifactId>commons-cli</artifactId><version>1.5.0</version></dependency>
    <dependency><groupId>org.jline</groupId><artifactId>jline</artifactId><version>3.25.1</version></dependency>
    <dependency><groupId>com.fasterxml.jackson.core</groupId><artifactId>jackson-databind</artifactId><version>2.15.2</version></dependency>
    <dependency><groupId>org.slf4j</groupId><artifactId>slf4j-simple</artifactId><version>2.0.13</version></dependency>
  </dependencies>
</project>
POM
	if mvn -q -B -f "$dir/pom.xml" dependency:copy-dependencies -DoutputDirectory="$dir/lib" >"$dir/mvn.log" 2>&1 &&
		[ -e "$dir/lib/zookeeper-$zk39.jar" ]; then
		: >"$dir/.complete"
	else
		echo "setup: cannot fetch ZooKeeper $zk39, see $dir/mvn.log" >&2
	fi
}

missing=0
report() { # check, name, what is not tested without it
	if "$1"; then
		echo "interop: have    $2"
	else
		missing=1
		echo "interop: MISSING $2 -- not tested: $3"
	fi
}

if [ "${1:-}" != --check ]; then
	apt_install
	fetch_java39
fi
report have_java38 "Java server and client 3.8 (zookeeper)" "every comparison with 3.8"
report have_java39 "Java server and client $zk39 (Maven)" "every comparison with 3.9"
report have_javac "JDK (javac)" "Java and Curator tours"
report have_zkcli "zkCli.sh (zookeeper)" "the zkCli tour"
report have_curator "Curator (libcurator-*-java)" "the Curator tour"
report have_kazoo "kazoo (python3-kazoo)" "the kazoo tour"
report have_cclient "C client (libzookeeper-mt-dev, gcc)" "the C tour"
report have_chromium "Chromium (chromium)" "capacity plans' reports in a browser"
report have_ssh "sshd and ssh (openssh-server, openssh-client)" "zabra hosts through a real sshd"
report have_ip "ip (iproute2)" "ensembles whose servers are cut off from each other"
[ "${1:-}" != --check ] || exit $missing
