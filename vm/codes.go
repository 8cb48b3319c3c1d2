package vm

// Explanation says what a refusal code means, and what whoever meets it can do.
type Explanation struct {
	Code  Code   `json:"code"`
	Means string `json:"means"`
	Do    string `json:"do"`
}

// Explanations lists every code once, in the order of the codes above. It is
// the only place: `secretvm explain` and the documentation are made from it.
var Explanations = []Explanation{
	{CodeMalformed, "Something is not in the format that it claims to have: truncated, trailing bytes, a field that contradicts another.", "Take it again from where it came from. If it stays, whoever made it does not follow the format; the reason names the part."},
	{CodeTooLarge, "Something is larger than its documented bound. It was not read.", "Genuine evidence fits. Is it the right file or port?"},
	{CodeSignature, "A signature or a link by hash does not hold: the bytes are not what was signed.", "Somebody or something changed the bytes on the way. Take them again; if it stays, do not trust the sender."},
	{CodeChain, "The certificates do not end in a root that is accepted.", "Production evidence ends in Intel's, AMD's or NVIDIA's root. For a development machine (soft TEE) name its root: --trust-root FILE; never do so for production."},
	{CodeRevoked, "The vendor has revoked a certificate, or the TCB that it stands for.", "The machine's operator must get new certificates or firmware from the vendor. No policy accepts it."},
	{CodeExpired, "A certificate or collateral is not valid at the time of judging.", "Fetch collateral again (`secretvm collateral fetch`), or judge at the time when the evidence was made (--at). Is this computer's clock right? collateral.stale_days in a policy bridges outages."},
	{CodeTCB, "Firmware, microcode or TDX module of the platform are older than the policy accepts, or need a configuration against a known weakness.", "The hint says which part is short. The machine's operator updates it. A policy can accept named advisories, a status, or give grace days."},
	{CodeQEIdentity, "The quoting enclave that signed for the platform is not the one that Intel lists.", "The machine's operator must install Intel's current quoting enclave."},
	{CodeModule, "The TDX module is not one that Intel lists, or has been changed.", "The machine's operator must load a released TDX module."},
	{CodeDebug, "The machine can be debugged: its host can read and change its memory.", "Boot it without the debug attribute. No policy accepts it."},
	{CodeAttributes, "The machine was launched with attributes or features that the policy does not allow.", "The refusal names the bits. Launch it without, or allow them in a policy (machine, snp)."},
	{CodeHardware, "The processor is genuine and none that the policy names.", "Is the machine where you believe it is? machine.hardware, snp.products and snp.providers in the policy list what is accepted."},
	{CodeCollateral, "What the vendor says about this platform is missing, or is about another one.", "Allow the network, or carry it: `secretvm collateral fetch`, then --collateral. Files of other platforms do not fit."},
	{CodeEvents, "The list of events does not explain the registers, or tells of something that a boot does not do.", "`secretvm explain` shows the difference event by event. If the list is the machine's own, something in it measured what it should not have."},
	{CodeGPU, "Kind, generation or number of the GPUs is not what the policy or configuration wants.", "gpu in the policy says what is wanted; `secretvm show` lists the devices that came along."},
	{CodeGPUMeasured, "A GPU measures something else than NVIDIA's reference documents say for its driver and firmware.", "The machine's operator must install released driver and firmware. If the documents are older than they, fetch them again."},
	{CodeReportData, "The quote is genuine and about something else: another TLS key, nonce or request.", "Connect to the machine itself, not through a proxy that ends TLS. If it stays, somebody relays another machine's evidence."},
	{CodeStale, "The evidence was made before it was asked for, or is older than the policy accepts.", "Ask again. A machine that cannot answer your nonce is not the attested one."},
	{CodeReplayed, "The very same request was seen before.", "Make a new request; a quote is good for one."},
	{CodeNoService, "The key manager has no such service.", "Is the id right, owner/name, and the key manager the right one?"},
	{CodeImage, "Registers or root file system are not those of the image that is wanted, or of any that the service allows.", "Compare with the manifest of the image that the machine should boot; `secretvm explain` shows the first event that differs. The owner may have upgraded: ask for the new manifest."},
	{CodePending, "The machine is an image of the service that has been announced, and does not get keys before its time.", "Wait until the time that the refusal names. The delay is the owner's own: it lets users look at what will run."},
	{CodeRetired, "The machine is an image of the service that its owner revoked.", "Boot the service's current image. The owner can add a revoked one again, which waits for the upgrade delay."},
	{CodeConfig, "The machine's measured configuration is not the one that is served, wanted or registered.", "The refusal names the field. What is measured is the truth; who serves something else is not to be trusted."},
	{CodeCompose, "The machine runs another compose file, or other files, than wanted.", "Every byte counts, line ends and comments too. Where the owner opened it, GET /docker-compose gives theirs to compare."},
	{CodePolicy, "Everything is genuine, and the policy does not accept it.", "The refusal names the field of the policy."},
	{CodeDevImage, "Everything is genuine, and the image is one for development: its operator may run commands in the machine and its containers.", "Have the machine boot a production image. For a machine of your own say so: --accept-dev, image.dev in a policy, `secretvm service image add --dev`."},
	{CodePermission, "The signer may not do this.", "Sign with the key of the owner."},
	{CodeExists, "It exists already and is never replaced.", "Choose another name."},
	{CodeFrozen, "The service is frozen: its owner gave up, for ever, to give its machines anything new.", "Make another service. What is there can still be revoked, and its policy can become stricter."},
	{CodeInvalid, "A value has no meaning.", "The refusal names the field and what is possible."},
	{CodeUnavailable, "Nothing could be asked; nothing was decided.", "Is the machine up, the address right, the port open? Try again."},
	{CodeInternal, "A mistake in this program; nothing was released or accepted.", "Please report it, with the bundle if there is one."},
}

// Explain returns what a code means, and false for what is no code.
func Explain(c Code) (Explanation, bool) {
	for _, e := range Explanations {
		if e.Code == c {
			return e, true
		}
	}
	return Explanation{}, false
}
