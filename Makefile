# Builds and installs memtool, with BSD make and GNU make alike.
#
#   make                            build the release program
#   make install                    install it below /usr/local
#   make install PREFIX=/usr DESTDIR=/tmp/stage
#   make uninstall                  remove what install has installed, given the same variables
#
# A directory that is set to nothing, as with DOCDIR=, has its files not installed. SYSTEM=FreeBSD stages an
# installation for FreeBSD on another system; MEMTOOL is then the cross-built program.

PREFIX ?= /usr/local
DESTDIR ?=
# As uname -s prints it.
SYSTEM ?= auto

BINDIR ?= $(PREFIX)/bin
DATADIR ?= $(PREFIX)/share/memtool
DOCDIR ?= $(PREFIX)/share/doc/memtool
MANDIR ?= $(PREFIX)/share/man
BASHDIR ?= $(PREFIX)/share/bash-completion/completions
FISHDIR ?= $(PREFIX)/share/fish/vendor_completions.d
ZSHDIR ?= $(PREFIX)/share/zsh/site-functions
# auto: below $(PREFIX)/etc on FreeBSD, and nowhere on other systems.
RCDIR ?= auto
NEWSYSLOGDIR ?= auto
SYSLOGDIR ?= auto
# Whether manual pages are compressed: yes, no, or auto, which is yes on FreeBSD.
MANCOMPRESS ?= auto

CARGO ?= cargo
CARGO_FLAGS ?= --locked
CARGO_TARGET_DIR ?= target
MEMTOOL ?= $(CARGO_TARGET_DIR)/release/memtool

VARIABLES = PREFIX='$(PREFIX)' DESTDIR='$(DESTDIR)' SYSTEM='$(SYSTEM)' BINDIR='$(BINDIR)' DATADIR='$(DATADIR)' \
	DOCDIR='$(DOCDIR)' MANDIR='$(MANDIR)' BASHDIR='$(BASHDIR)' FISHDIR='$(FISHDIR)' ZSHDIR='$(ZSHDIR)' \
	RCDIR='$(RCDIR)' NEWSYSLOGDIR='$(NEWSYSLOGDIR)' SYSLOGDIR='$(SYSLOGDIR)' MANCOMPRESS='$(MANCOMPRESS)' \
	MEMTOOL='$(MEMTOOL)'

all:
	$(CARGO) build --release $(CARGO_FLAGS)

# Nothing is built here: who installs may be another user than who builds, and need not have cargo.
install:
	@$(VARIABLES) sh packaging/install install

uninstall:
	@$(VARIABLES) sh packaging/install uninstall

clean:
	$(CARGO) clean

.PHONY: all install uninstall clean
