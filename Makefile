# SPDX-License-Identifier: GPL-2.0
#
# Every user command. `make help` lists them.
#
# The commands run in the Debian 13 root that scripts/in-root makes, unless TOOLS=host. A kernel
# tree of the user's own (KDIR=) is worked on with the user's tools.

KERNEL ?= $(if $(DEBUG)$(filter fuzz soak,$(MAKECMDGOALS)),debug,$(if $(CONFIG)$(filter bench crash mutants xfstests,$(MAKECMDGOALS)),plain,debian))
# A configuration of xfstests, as others call it; to us CONFIG= is one of the kernel.
ifneq ($(and $(filter xfstests,$(MAKECMDGOALS)),$(filter dax pagecache ram disk,$(CONFIG))),)
override ON := $(CONFIG)
override CONFIG :=
export ON
endif
MINUTES ?= 60
# bash has a SECONDS of its own.
FUZZ_SECONDS ?= $(or $(SECONDS),60)
# To see an edited line run, not to measure it: see Kbuild.
INCREMENTAL ?= $(if $(KDIR),,$(if $(filter vm shell,$(MAKECMDGOALS)),1))
MAKEFLAGS += --no-print-directory
Q := $(if $(V),,@)
# Of `vm` only the command writes to standard output.
to := $(if $(filter vm,$(MAKECMDGOALS)),>&2)
ifdef CMD
override CMD := $(value CMD)
endif

kbuild_targets := modules modules_install rust-analyzer
commands := $(kbuild_targets) vm shell run bench test soak crash mutants xfstests lint fuzz doc
.PHONY: all help clean distclean try try-test $(commands)

all: modules

help:
	@sed 's/^/  /' scripts/help.txt

clean:
	$(Q)rm -rf out
	$(Q)find . \( -name '*.o' -o -name '*.ko' -o -name '*.mod' -o -name '*.mod.c' -o -name '.*.cmd' \
		-o -name modules.order -o -name Module.symvers -o -name '*.rsi' -o -name '*.ll' \) -type f -delete
	$(Q)rm -rf rust/bindings/generated.rs rust/rdaxfs.rlib rust/incremental rust-project.json

distclean: clean
	$(Q)scripts/forget

# Calls the root itself, with and without the patches.
try try-test:
	$(Q)scripts/$@

ifeq ($(KDIR)$(filter host,$(TOOLS)),)
# From here on in the root, to which these variables are passed.
export KERNEL CMD V MINUTES FUZZ_SECONDS OPERATIONS POINTS IMAGES SEED KILLS
ifneq ($(if $(INSTALL_MOD_PATH),,$(filter modules_install,$(MAKECMDGOALS))),)
$(error modules_install wants INSTALL_MOD_PATH=, or KDIR=; this machine takes a module of KERNEL=running with insmod)
endif
$(commands):
	$(Q)scripts/in-root make $@
else

# The kernel tree, where the module goes, and what make wants to be told for that tree.
ifdef KDIR
output := $(MO)
build = $(KDIR)
else
kernel = $(or $(kernel_),$(eval kernel_ := $$(shell TOOLS=$(TOOLS) CONFIG=$(CONFIG) DEBUG=$(DEBUG) scripts/kernel $(KERNEL)))$(kernel_),$(error no kernel $(KERNEL)))
build = $(kernel)/build
arguments = $(file <$(kernel)/make.args) -j$(shell nproc)
# Where there can be more than one of a kind, the directory names it; it is made once.
this = $(if $(filter debian running plain debug,$(KERNEL)$(CONFIG)),$(KERNEL),$(kernel))
on = KERNEL=$(this) CONFIG=
output = $(or $(MO),out/module/$(notdir $(this))$(if $(filter 1,$(INCREMENTAL)),-incremental))
endif
kbuild = $(MAKE) -C $(build) M=$(CURDIR) $(if $(output),MO=$(abspath $(output))) \
	$(foreach name,V W C CHECK CLIPPY LLVM INSTALL_MOD_PATH INCREMENTAL,$(if $($(name)),$(name)='$($(name))')) $(arguments)
module = $(abspath $(or $(output),.))/rdaxfs.ko

$(kbuild_targets): check-tree
	+$(Q)$(kbuild) $@ $(to)
	$(if $(KDIR),,$(if $(filter modules,$@),$(Q)scripts/check-symbols $(module) $(build) && echo "rdaxfs: $(module)" $(to)))
	$(if $(output),$(if $(filter rust-analyzer,$@),$(Q)cp $(output)/rust-project.json .))

# An output directory wants a source directory without output.
.PHONY: check-tree
check-tree:
	$(Q)scripts/check-tree $(build)
ifneq ($(or $(MO),$(if $(KDIR),,cached)),)
	$(Q)mkdir -p $(output)
	$(Q)test ! -e modules.order || $(MAKE) -C $(build) M=$(CURDIR) clean >/dev/null
endif

ifdef KDIR
# The user's kernel, laid out as scripts/kernel does.
kdir_out := $(CURDIR)/out/kdir$(subst /,-,$(realpath $(KDIR)))
vm_run = KERNEL=$(kdir_out) scripts/in-root qemu/vm --module $(module)
.PHONY: kdir
kdir: modules
	$(Q)mkdir -p $(kdir_out)/boot
	$(Q)cp -u $(KDIR)/arch/x86/boot/bzImage $(kdir_out)/boot/vmlinuz
	$(Q)ln -sfn $(realpath $(KDIR)) $(kdir_out)/build
	$(Q)test $(kdir_out)/lib -nt $(KDIR)/modules.order || \
		$(MAKE) -C $(KDIR) INSTALL_MOD_PATH=$(kdir_out) INSTALL_MOD_STRIP=1 modules_install $(to)
	$(Q)touch $(kdir_out)/lib
vm shell: kdir
ifneq ($(filter-out $(kbuild_targets) vm shell,$(filter $(commands),$(MAKECMDGOALS))),)
$(error KDIR= goes with $(kbuild_targets) vm shell; KERNEL=DIR has a source tree built in the cache)
endif
else
vm_run = $(on) qemu/vm --module $(module)
vm shell run bench soak crash fuzz xfstests: modules
endif

vm:
	$(Q)$(vm_run) -- "$$CMD"

shell:
	$(Q)$(vm_run) --shell

# One processor, as for fuzz.
run:
	$(Q)$(on) SMP=$${SMP:-1} scripts/guest demo

bench:
	$(Q)$(on) scripts/bench

test:
	$(Q)scripts/test $(PARTS)

# Ends with 124 if the kernel complained. The boot, and the test that is under way at the end, have
# a quarter of an hour.
soak:
	$(Q)$(on) VM=--strict TIMEOUT=$$((($(MINUTES) + 15) * 60)) scripts/guest soak --minutes $(MINUTES) $(TESTS:%=--filter %)

# The log of all writes is on a ram disk, which wants room.
crash:
	$(Q)$(on) VM=--strict MEM=4G PMEM_SIZE=1G TIMEOUT=$${TIMEOUT:-7200} scripts/guest crash \
		$(if $(OPERATIONS),--operations $(OPERATIONS)) $(if $(POINTS),--points $(POINTS)) $(if $(SEED),--seed $(SEED))
	$(Q)$(on) scripts/kills

mutants:
	$(Q)$(on) scripts/mutants $(PARTS)

xfstests:
	$(Q)$(on) scripts/xfstests/run

lint:
	$(Q)CONFIG= scripts/lint

# The parsers on the host, then images in a guest, whose kernel says what was wrong with them. One processor: under
# TCG a second one that idles makes this take three times as long.
fuzz:
	$(Q)CARGO_TARGET_DIR=$(CURDIR)/out/fuzz rust/ondisk/fuzz/run $(FUZZ_SECONDS)
	$(Q)$(on) VM=--strict SMP=$${SMP:-1} TIMEOUT=14400 scripts/guest hostile $(if $(IMAGES),--images $(IMAGES)) $(if $(SEED),--seed $(SEED))

doc:
	$(Q)CONFIG= scripts/doc out/doc
endif
