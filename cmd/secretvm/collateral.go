package main

import "github.com/spf13/cobra"

func newCollateralCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "collateral",
		Short: "Fetch and show what Intel, AMD and NVIDIA sign about platforms",
		Long: `A quote alone proves neither that its platform is up to date nor that its keys
have not been revoked. Vendors sign that separately, for some weeks at a time:
Intel as collateral (PCS, or a PCCS), AMD as certificates and lists (KDS),
NVIDIA as reference manifests and OCSP answers.

verify fetches what evidence lacks and keeps it in a cache, by content. These
commands do so beforehand, for machines without a network, and show what is
there. Where to ask: --pccs, --kds, --rim, --ocsp; or the environment variables
SECRETVM_PCCS, SECRETVM_KDS, SECRETVM_RIM, SECRETVM_OCSP; or lists of URLs under
pccs, kds, rim, ocsp in secretvm/collateral.yaml below the configuration folder;
otherwise the vendors' own services.`,
	}
	c.AddCommand(newCollateralFetchCommand(), newCollateralShowCommand())
	return c
}
