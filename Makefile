# SPDX-License-Identifier: GPL-2.0
#
# Every user command. `make help` lists them.
#
# The commands run in the Debian 13 root that scripts/in-root makes, unless TOOLS=host. A kernel
# tree of the user's own (KDIR=) is worked on with the user's tools.

KERNEL ?= $(if $(DEBUG),debug,debian)
MAKEFLAGS += --no-print-directory
Q := $(if $(V),,@)

kbuild_targets := modules modules_install rust-analyzer
vm_targets := vm shell
commands := $(kbuild_targets) $(vm_targets)
.PHONY: all help clean distclean $(commands)

all: modules

help:
	$(Q)sed 's/^/  /' scripts/help.txt

clean:
	$(Q)rm -rf out/module
	$(Q)find . \( -name '*.o' -o -name '*.ko' -o -name '*.mod' -o -name '*.mod.c' -o -name '.*.cmd' \
		-o -name modules.order -o -name Module.symvers -o -name '*.rsi' -o -name '*.ll' \) -type f -delete
	$(Q)rm -f rust/bindings/generated.rs rust-project.json

ifeq ($(KDIR)$(filter host,$(TOOLS)),)
# From here on in the root, which passes the variables that are named there.
export KERNEL CMD V
$(commands):
	$(Q)scripts/in-root make $@
else

# The kernel tree, where the module goes, and what make wants to be told for that tree.
ifdef KDIR
output := $(MO)
build = $(KDIR)
vm_kernel := $(CURDIR)/out/kdir
else
kernel = $(or $(kernel_),$(eval kernel_ := $$(shell scripts/kernel $(KERNEL)))$(kernel_),$(error no kernel $(KERNEL)))
build = $(kernel)/build
arguments = $(file <$(kernel)/make.args) -j$(shell nproc)
output := $(or $(MO),out/module/$(KERNEL))
vm_kernel := $(KERNEL)
endif
kbuild = $(MAKE) -C $(build) M=$(CURDIR) $(if $(output),MO=$(abspath $(output))) \
	$(foreach name,V W C CLIPPY LLVM INSTALL_MOD_PATH,$(if $($(name)),$(name)=$($(name)))) $(arguments)
module = $(or $(output),$(CURDIR))/rdaxfs.ko

$(kbuild_targets): check-tree
	+$(Q)$(kbuild) $@
	$(if $(KDIR),,$(if $(filter modules,$@),$(Q)scripts/check-symbols $(module) $(build) && echo "rdaxfs: $(module)"))

# An output directory wants a source directory without output.
.PHONY: check-tree
check-tree:
	$(Q)scripts/check-tree $(build)
ifneq ($(output),)
	$(Q)mkdir -p $(output)
	$(Q)test ! -e modules.order || $(MAKE) clean
endif

vm_run = $(if $(KDIR),KERNEL=$(vm_kernel) scripts/in-root )qemu/vm --module $(abspath $(module))

vm: modules $(if $(KDIR),kdir)
	$(Q)$(vm_run) -- "$$CMD"

shell: modules $(if $(KDIR),kdir)
	$(Q)$(vm_run) --shell

# The user's kernel laid out as scripts/kernel does.
.PHONY: kdir
kdir:
	$(Q)mkdir -p out/kdir/boot
	$(Q)cp -u $(KDIR)/arch/x86/boot/bzImage out/kdir/boot/vmlinuz
	$(Q)ln -sfn $(realpath $(KDIR)) out/kdir/build
	$(Q)test out/kdir/lib -nt $(KDIR)/modules.order || \
		$(MAKE) -C $(KDIR) INSTALL_MOD_PATH=$(CURDIR)/out/kdir INSTALL_MOD_STRIP=1 modules_install
	$(Q)touch out/kdir/lib
endif
