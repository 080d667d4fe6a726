"""What would happen, said in words by playing the engine: plans, dry runs, and the text of a policy.

Enter by `plan.make_plan` and `policy_text.explain`. Only the factory and `Policy.explain` import it, when they are
asked to. May import every room but the factory.
"""
